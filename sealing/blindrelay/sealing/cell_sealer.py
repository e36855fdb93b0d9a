"""Seals a response in cells (spec/protocol.md, section 9.6)."""

from __future__ import annotations

from typing import Final

from blindrelay.sealing.cells import MAX_INFLATED, CellShape, CellWriter
from blindrelay.sealing.errors import StateError
from blindrelay.sealing.part_order import RESPONSE_ORDER, Direction
from blindrelay.sealing.records import RecordSealer
from blindrelay.v1.bytes_field import bytes_field
from blindrelay.v1.inner_pb2 import ResponsePart

_CELL_NUMBER: Final = ResponsePart.CELL_FIELD_NUMBER
_FIELD_FRAMING: Final = 4
"""Bytes of protobuf tag and length before a cell's content. If they take fewer, zeros make up for it."""


class CellSealer:
    """One response in cells. Parts are added as they come, and each tick takes a cell.

    Args:
        records: a sealer that has sealed nothing yet.
        shape: sizes and number of the cells.
    """

    def __init__(self, records: RecordSealer, shape: CellShape) -> None:
        self.shape = shape
        self._records = records
        self._direction = Direction(RESPONSE_ORDER)
        self._writer = CellWriter()
        self._added = 0
        self._size = 0
        self._cells = 0
        self._count: int | None = None

    @property
    def ended(self) -> bool:
        """Whether the response's end has been added."""
        return self._direction.ended

    @property
    def finished(self) -> bool:
        """Whether the last cell has been sealed."""
        return self._cells == self._count

    @property
    def has_room(self) -> bool:
        """Whether the next cell can take more than what waits already."""
        return self._writer.waiting < self._room

    def add(self, part: ResponsePart) -> None:
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
            raise StateError("the response has all its cells")
        if self._cells and self._cells % self.shape.run == 0 and not self.has_room:
            self._size = min(self._size + 1, len(self.shape.sizes) - 1)
        content = self._writer.take(self._room)
        size = self.shape.sizes[self._size]
        self._added = 0
        self._cells += 1
        if self._count is None and self.ended and not self._writer.waiting:
            self._count = self.shape.padded_count(self._cells)
        part = bytes_field(_CELL_NUMBER, content)
        return self._records.seal(part, zeros=size - self._records.size_of(len(part)), final=self.finished)

    @property
    def _room(self) -> int:
        """Bytes of content in the next cell. The first one also carries the response nonce."""
        return self.shape.sizes[self._size] - self._records.size_of(_FIELD_FRAMING)

    def __repr__(self) -> str:
        return f"<CellSealer, {self._cells} cells, {'ended' if self.ended else 'open'}>"
