"""Cells: the records of a response whose sizes and times do not depend on its content (spec, section 9.6).

A cell is a record of a fixed size. What the cells of a response carry, joined, is one DEFLATE stream, whose
content is the response's parts, each after its length. The end is inside: cells go on after it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count
from typing import Final

from blindrelay.sealing.cell_dictionary import DICTIONARY
from blindrelay.sealing.errors import ViolationError
from blindrelay.v1.inner_pb2 import SHAPING_PROFILE_BALANCED, SHAPING_PROFILE_STRICT, ShapingProfile

MAX_INFLATED: Final = 262_144
"""Bytes that one cell may inflate to. A sealer adds at most half of it between two cells."""

_LENGTH_SIZE: Final = 4
_WINDOW_BITS: Final = -13
_MEMORY_LEVEL: Final = 6
"""8 KiB of window and 96 KiB of memory for each response: events repeat at once or never."""


@dataclass(frozen=True)
class CellShape:
    """Sizes, number and times of a response's cells.

    Attributes:
        tick: milliseconds from one cell to the next.
        sizes: bytes of a cell; the first size is the usual one.
        run: cells until the size may grow.
        grid: milliseconds from one release to the next, of a response that is not an event stream.
        strict: whether requests, and responses that are not event streams, are padded to a power of two.
        first_count, next_count, growth: the number of cells is first_count, or next_count · growth^n, rounded
            down, for some n ≥ 0.
    """

    tick: int
    sizes: tuple[int, ...]
    run: int
    grid: int
    first_count: int
    next_count: int
    growth: float
    strict: bool = False

    def padded_count(self, cells: int) -> int:
        """How many cells a response has whose end is in cell number `cells`, counted from 1."""
        later = (int(self.next_count * self.growth**step) for step in count())
        return next(padded for padded in chain([self.first_count], later) if padded >= cells)


BALANCED: Final = CellShape(
    tick=100, sizes=(512, 4_096, 32_768), run=8, grid=100, first_count=40, next_count=120, growth=2
)
"""The profile BALANCED: a cell of 512 bytes each 100 milliseconds, 40 or 120 · 2^n of them."""

STRICT: Final = CellShape(
    tick=250,
    sizes=(1_536, 12_288, 65_536),
    run=16,
    grid=1_000,
    first_count=64,
    next_count=176,
    growth=2.75,
    strict=True,
)
"""The profile STRICT: a cell of 1,536 bytes each 250 milliseconds, 64 or 176 · 2.75^n of them."""


SHAPES: Final[dict[ShapingProfile.ValueType, CellShape]] = {
    SHAPING_PROFILE_BALANCED: BALANCED,
    SHAPING_PROFILE_STRICT: STRICT,
}
"""The profiles with cells."""


class CellWriter:
    """The DEFLATE stream in a response's cells, as the bridge writes it."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(
            level=6, wbits=_WINDOW_BITS, memLevel=_MEMORY_LEVEL, zdict=DICTIONARY
        )
        self._waiting = bytearray()
        self._flushed = True

    @property
    def waiting(self) -> int:
        """Bytes that no cell has taken yet."""
        self._flush()
        return len(self._waiting)

    def add(self, part: bytes) -> None:
        """Appends an encoded part."""
        self._waiting += self._deflate.compress(len(part).to_bytes(_LENGTH_SIZE, "big") + part)
        self._flushed = False

    def take(self, size: int) -> bytes:
        """The next bytes of the stream, at most `size`. All of what was added can be inflated from them."""
        self._flush()
        taken = bytes(self._waiting[:size])
        del self._waiting[:size]
        return taken

    def _flush(self) -> None:
        if not self._flushed:
            self._waiting += self._deflate.flush(zlib.Z_PARTIAL_FLUSH)
            self._flushed = True


class CellReader:
    """The DEFLATE stream in a response's cells, as the client reads it."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=_WINDOW_BITS, zdict=DICTIONARY)
        self._unread = bytearray()

    def parts(self, content: bytes) -> list[bytes]:
        """The encoded parts that are complete with the next cell's content.

        Raises ViolationError if it is not DEFLATE, inflates to over 262,144 bytes, or has a part over that.
        """
        try:
            self._unread += self._inflate.decompress(content, MAX_INFLATED + 1)
        except zlib.error:
            raise ViolationError("a cell cannot be inflated") from None
        if len(self._unread) > MAX_INFLATED or self._inflate.unused_data:
            raise ViolationError("a cell holds too much")
        return list(self._complete())

    def _complete(self) -> Iterator[bytes]:
        while len(self._unread) >= _LENGTH_SIZE:
            end = _LENGTH_SIZE + int.from_bytes(self._unread[:_LENGTH_SIZE], "big")
            if end > MAX_INFLATED:
                raise ViolationError("a cell holds too much")
            if len(self._unread) < end:
                return
            yield bytes(self._unread[_LENGTH_SIZE:end])
            del self._unread[:end]
