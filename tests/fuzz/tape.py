"""Reads the bytes of a fuzzer as choices, so that every input has a meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")

_STEPS: Final = (0, 1, -1, 10, -10, 300, 301, -300, -301, 3_600, 172_800, 172_801, -172_800, -172_801)
"""Distances at which a rule of the protocol about times changes its result."""


class Tape:
    """Reads from the front. Missing bytes read as zeros."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    @property
    def spent(self) -> bool:
        return self._place >= len(self._data)

    def byte(self) -> int:
        """0 to 255."""
        return int.from_bytes(self._take(1), "big")

    def flag(self) -> bool:
        return self.byte() & 1 == 1

    def short(self) -> int:
        """0 to 65,535."""
        return int.from_bytes(self._take(2), "big")

    def choice(self, options: Sequence[T]) -> T:
        return options[self.byte() % len(options)]

    def near(self, centre: int) -> int:
        """A number at a distance from `centre` that matters, at a small distance, or any 64-bit number."""
        how = self.byte()
        if how < len(_STEPS):
            return centre + _STEPS[how]
        if how < 0x80:
            return centre + self.short() - 0x8000
        return int.from_bytes(self._take(8), "big")

    def chunk(self) -> bytes:
        """Reads two bytes of length, then that many bytes."""
        return self._take(self.short())

    def rest(self) -> bytes:
        return self._take(len(self._data))

    def _take(self, size: int) -> bytes:
        taken = self._data[self._place : self._place + size]
        self._place += size
        return taken


def written(*items: int | bytes) -> bytes:
    """The bytes that a tape reads as these items: numbers as bytes, bytes as chunks."""
    return b"".join(
        bytes([item]) if isinstance(item, int) else len(item).to_bytes(2, "big") + item for item in items
    )


def spelt(data: bytes, words: Sequence[bytes]) -> bytes:
    """Replaces low bytes by words, which chance would not find."""
    return b"".join(words[byte] if byte < len(words) else bytes([byte]) for byte in data)
