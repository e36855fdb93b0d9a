"""Seals a response, or one direction of a tunnel, in cells (spec/protocol.md, section 9.6)."""

from __future__ import annotations

from typing import Final

from blindrelay.sealing.cells import MAX_INFLATED, CellShape, CellWriter
from blindrelay.sealing.errors import StateError
from blindrelay.sealing.part_order import Direction
from blindrelay.sealing.records import RecordSealer
from blindrelay.v1.bytes_field import bytes_field
from blindrelay.v1.inner_pb2 import RequestPart, ResponsePart

_CELL_NUMBER: Final = ResponsePart.CELL_FIELD_NUMBER
"""Both kinds of parts have the field `cell`, with this number."""

_ENOUGH: Final = 60_000
"""Bytes that were added since the last cell, after which the largest part may be too much."""

_FIELD_FRAMING: Final = 4
"""Bytes of protobuf tag and length before a cell's content. If they take fewer, zeros make up for it."""


class CellSealer:
    """A response in cells, or a tunnel's direction. Parts are added as they come, and each tick takes one.

    Args:
        records: a sealer that has sealed nothing yet, or a tunnel's head.
        direction: knows which part may come next. In a tunnel the cell with the end is the last one.
        shape: sizes and number of the cells.
    """

    def __init__(self, records: RecordSealer, direction: Direction, shape: CellShape) -> None:
        self.shape = shape
        self._records = records
        self._direction = direction
        self._writer = CellWriter()
        self._added = 0
        self._size = 0
        self._cells = 0
        self._count: int | None = None

    @property
    def ended(self) -> bool:
        """Whether the end has been added."""
        return self._direction.ended

    @property
    def end_is_sealed(self) -> bool:
        """Whether a cell with the end has been sealed. Those that follow carry nothing."""
        return self._count is not None

    @property
    def finished(self) -> bool:
        """Whether the last cell has been sealed."""
        return self._cells == self._count

    @property
    def has_room(self) -> bool:
        """Whether the next cell can take more than what waits, and another part of any size may be added."""
        return not self._overflows and self._added <= _ENOUGH

    def add(self, part: RequestPart | ResponsePart) -> None:
        """Takes the next part, for the next cells.

        Raises StateError if it is out of order, or if over 131,072 bytes were added since the last cell.
        """
        encoded = part.SerializeToString()
        if self._added + len(encoded) > MAX_INFLATED // 2:
            raise StateError("too much is added between two cells")
        if (wrong := self._direction.advance(part)) is not None:
            raise StateError(wrong)
        self._added += len(encoded)
        self._writer.add(encoded)

    def cell(self) -> bytes:
        """The next record. Raises StateError after the last one."""
        if self.finished:
            raise StateError("all cells are sealed")
        if self._cells and self._cells % self.shape.run == 0 and self._overflows:
            self._size = min(self._size + 1, len(self.shape.sizes) - 1)
        content = self._writer.take(self._room)
        size = self.shape.sizes[self._size]
        self._added = 0
        self._cells += 1
        if self._count is None and self.ended and not self._writer.waiting:
            in_tunnel = self._direction.is_tunnel
            self._count = self._cells if in_tunnel else self.shape.padded_count(self._cells)
        part = bytes_field(_CELL_NUMBER, content)
        return self._records.seal(part, zeros=size - self._records.size_of(len(part)), final=self.finished)

    @property
    def _overflows(self) -> bool:
        return self._writer.waiting >= self._room

    @property
    def _room(self) -> int:
        """Bytes of content in the next cell. The first one also carries the response nonce."""
        return self.shape.sizes[self._size] - self._records.size_of(_FIELD_FRAMING)

    def __repr__(self) -> str:
        return f"<CellSealer, {self._cells} cells, {'ended' if self.ended else 'open'}>"
