"""The keys that sign leases, as the relays know them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

SPREAD_SECONDS: Final = 60.0
"""A new key signs nothing before all relays have had this time to receive it."""


class LeaseKeys:
    """At most two keys of 32 bytes, newest first. `clock` returns seconds that only grow."""

    def __init__(self, keys: Sequence[bytes], clock: Callable[[], float]) -> None:
        self.keys = tuple(keys)
        self._clock = clock
        self._newest_since = clock()

    def update(self, keys: Sequence[bytes]) -> bool:
        """Takes the keys of the books. Returns whether they are new."""
        if self.keys == tuple(keys):
            return False
        self.keys = tuple(keys)
        self._newest_since = self._clock()
        return True

    @property
    def signing(self) -> bytes:
        """The newest key, or the one before it while the newest may not have reached every relay."""
        spread = self._clock() - self._newest_since >= SPREAD_SECONDS
        return self.keys[0] if spread else self.keys[-1]

    def __repr__(self) -> str:
        return f"<LeaseKeys: {len(self.keys)}>"
