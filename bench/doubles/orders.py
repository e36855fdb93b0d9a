"""What a sink is asked for, in the last bytes of the first message: a forwarder passes it like any others."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Self

_FORM: Final = struct.Struct("!IIdd")


@dataclass(frozen=True)
class Order:
    """So many records of so many bytes, the first after a time, the others at a pace (0: at once)."""

    records: int
    record_bytes: int
    first_seconds: float
    records_per_second: float

    def encode(self) -> bytes:
        """24 bytes."""
        return _FORM.pack(self.records, self.record_bytes, self.first_seconds, self.records_per_second)

    @classmethod
    def at_end_of(cls, message: bytes) -> Self:
        """Raises struct.error if there is none."""
        return cls(*_FORM.unpack(message[-_FORM.size :]))
