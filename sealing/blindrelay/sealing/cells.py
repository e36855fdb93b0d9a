"""Cells: a response whose records have sizes and times that its content does not choose (spec/protocol.md, 9.6).

A cell is a record of a fixed size. What the cells of a response carry, joined, is one DEFLATE stream, whose
content is the response's parts, each after its length. The end is inside: cells go on after it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import count
from typing import Final

from blindrelay.sealing.cell_dictionary import DICTIONARY
from blindrelay.sealing.errors import StateError, ViolationError
from blindrelay.sealing.padding import RECORD_OVERHEAD

MAX_INFLATED: Final = 262_144
"""Bytes that one cell may inflate to. A sealer adds at most half of it between two cells."""

_LENGTH_SIZE: Final = 4
_FIELD_FRAMING: Final = 4
"""Bytes of protobuf tag and length before a cell's content, up to 2 MiB. A shorter length leaves a zero."""

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
        first_count, growth: the number of cells is first_count · growth^n, rounded down, for some n ≥ 0.
    """

    tick: int
    sizes: tuple[int, ...]
    run: int
    first_count: int
    growth: float

    def padded_count(self, cells: int) -> int:
        """How many cells a response has whose end is in cell number `cells`, counted from 1."""
        counts = (int(self.first_count * self.growth**step) for step in count())
        return next(padded for padded in counts if padded >= cells)


BALANCED: Final = CellShape(tick=100, sizes=(512, 4_096, 32_768), run=8, first_count=64, growth=2)
STRICT: Final = CellShape(tick=250, sizes=(1_536, 12_288, 65_536), run=16, first_count=64, growth=2.5)
