"""Messages as records: what requests and responses have in common (spec/protocol.md, sections 9 and 10).

Each object serves one direction of one exchange.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from google.protobuf.message import DecodeError

from blindrelay.sealing.cell_sealer import CellSealer
from blindrelay.sealing.cells import CellReader, CellShape
from blindrelay.sealing.errors import StateError, ViolationError
from blindrelay.sealing.padding import (
    FLOOR,
    RECORD_OVERHEAD,
    STRICT_FLOOR,
    TUNNEL_FLOOR,
    doubled,
    final_padding,
    lone_padding,
    padme,
)
from blindrelay.sealing.part_order import Direction, Order
from blindrelay.sealing.records import Buffer, DeriveKey, RecordOpener, RecordSealer
from blindrelay.v1.bytes_field import bytes_field_start
from blindrelay.v1.inner_pb2 import RequestPart, ResponsePart
from blindrelay.v1.limits import MAX_BODY_PIECE, MAX_HEAD_SIZE

BODY_ALONE: Final = RequestPart(body=b"")
"""Stands for any part that is a piece of the body alone."""

BODY_NUMBER: Final = RequestPart.BODY_FIELD_NUMBER
"""Both kinds of parts have the field `body`, with this number."""

PartT = TypeVar("PartT", RequestPart, ResponsePart)


Zeros = Callable[[int], int]


def no_zeros(_: int) -> int:
    return 0


def _alone_in_tunnel(part_size: int) -> int:
    return lone_padding(part_size, TUNNEL_FLOOR)


class MessageSealer(Generic[PartT]):
    """Seals the parts of one direction."""

    def __init__(
        self,
        derive_key: DeriveKey,
        order: Order,
        full_part: int,
        zeros: Zeros = no_zeros,
        response_nonce: bytes = b"",
    ) -> None:
        """`zeros` says how many pad a record that is not the last, for the size of its part in bytes."""
        self._records = RecordSealer(derive_key, response_nonce)
        self._direction = Direction(order)
        self._full_part = full_part
        self._zeros = zeros
        self._strict = False

    @property
    def ended(self) -> bool:
        """Whether the whole message is sealed."""
        return self._direction.ended

    def tunnel_in_cells(self, shape: CellShape) -> CellSealer:
        """Seals this direction of a tunnel in cells from now on: after the head, and before a frame."""
        if not self._direction.is_tunnel:
            raise StateError("there is no tunnel")
        return CellSealer(self._records, self._direction, shape)

    def _seal(self, part: PartT) -> list[bytes]:
        """The records of a part; the end of a message also gets the final padding.

        In a tunnel each part is one record with its own padding.
        """
        if (wrong := self._direction.advance(part)) is not None:
            raise StateError(wrong)
        encoded = part.SerializeToString()
        if self._direction.is_tunnel:
            return [self._records.seal(encoded, zeros=_alone_in_tunnel(len(encoded)), final=self.ended)]
        if not self.ended:
            return [self._records.seal(encoded, zeros=self._zeros(len(encoded)))]
        return self._sealed_last(encoded)

    def _seal_body(self, *body: Buffer) -> list[bytes]:
        """The same for a part with a piece of the body alone. No message of protobuf copies it."""
        if (wrong := self._direction.advance(BODY_ALONE)) is not None:
            raise StateError(wrong)
        length = sum(map(len, body))
        start = bytes_field_start(BODY_NUMBER, length)
        return [self._records.seal(start, *body, zeros=self._zeros(len(start) + length))]

    def _sealed_last(self, encoded: bytes) -> list[bytes]:
        last, full = RECORD_OVERHEAD + len(encoded), RECORD_OVERHEAD + self._full_part
        sent = self._records.sealed_size + self._records.size_of(len(encoded)) - last
        floor, rounded = (STRICT_FLOOR, doubled) if self._strict else (FLOOR, padme)
        first, *more = final_padding(sent, last, full, floor, rounded)
        sealed = [self._records.seal(encoded, zeros=first, final=not more)]
        return sealed + [
            self._records.seal(b"", zeros=zeros, final=place == len(more))
            for place, zeros in enumerate(more, start=1)
        ]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {'ended' if self.ended else 'open'}>"


class MessageOpener(Generic[PartT]):
    """Opens the records of one direction."""

    def __init__(
        self, derive_key: DeriveKey, order: Order, part_type: type[PartT], prefix_size: int = 0
    ) -> None:
        self._records = RecordOpener(derive_key, prefix_size)
        self._direction = Direction(order)
        self._part_type: type[PartT] = part_type
        self._cells: CellReader | None = None
        self._opened = 0

    @property
    def ended(self) -> bool:
        """Whether the message is complete. Only padding can follow."""
        return self._direction.ended

    @property
    def finished(self) -> bool:
        """Whether the final record has opened. Nothing can follow."""
        return self._records.finished

    @property
    def is_tunnel(self) -> bool:
        """Whether the head of a tunnel has opened."""
        return self._direction.is_tunnel

    @property
    def in_cells(self) -> bool:
        """Whether what opened last was a cell."""
        return self._cells is not None

    def open(self, sealed: Buffer) -> PartT:
        """The part in a record, or the parts in a cell as one. A part without any field is padding.

        It is not for tunnels in cells, where a cell may have several frames. Raises OpenError if the record
        does not open, and ViolationError if the part is out of order or over a limit. The first error is
        raised again on every later use.
        """
        parts = self.parts(sealed)
        return joined(parts, self._part_type)

    def parts(self, sealed: Buffer) -> list[PartT]:
        """The part in a record, or the parts that are complete with a cell. Raises as open() does."""
        return self._parts(*self._records.open(sealed))

    def _parts(self, encoded: bytes | memoryview, final: bool) -> list[PartT]:
        try:
            parts = [self._taken(part) for part in self._carried(self._parsed(encoded))]
        except ViolationError as error:
            self._records.fail(error.with_traceback(None))
        if final and not self.ended:
            self._records.fail(ViolationError("the final record comes before the end of the message"))
        return parts

    def close(self) -> None:
        """Tells that the stream has ended. Raises TruncatedError unless the final record has opened."""
        self._records.close()

    def _carried(self, part: PartT) -> list[PartT]:
        """The part of a record, or the parts in its cell."""
        if part.HasField("cell") and self._may_be_cells(self._opened):
            self._cells = CellReader()
        self._opened += 1
        if self._cells is None:
            return [part]
        if [field.name for field, _ in part.ListFields()] != ["cell"]:
            raise ViolationError("a part is not a cell, and cells have come before")
        return [self._parsed(encoded) for encoded in self._cells.parts(part.cell)]

    def _may_be_cells(self, place: int) -> bool:
        """Whether cells may begin with this record, counted from 0: in a tunnel, after its head."""
        return place == 1 and self._direction.is_tunnel

    def _parsed(self, encoded: bytes | memoryview) -> PartT:
        try:
            part: PartT = self._part_type.FromString(encoded)  # type: ignore[arg-type]  # takes any buffer
        except DecodeError:
            raise ViolationError("a record does not contain a part") from None
        return part

    def _taken(self, part: PartT) -> PartT:
        """The part, which is the next one. Raises ViolationError."""
        if (wrong := self._wrong_with(part) or self._direction.advance(part)) is not None:
            raise ViolationError(wrong)
        return part

    def _wrong_with(self, part: PartT) -> str | None:
        if part.HasField("head") and part.head.ByteSize() > MAX_HEAD_SIZE:
            return "a head is over 32,768 bytes"
        if len(part.body) > MAX_BODY_PIECE:
            return "a body piece is over 65,536 bytes"
        return None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {self._records!r}>"


def joined(parts: list[PartT], part_type: type[PartT]) -> PartT:
    """Parts in their order as one, whose body is that of all of them."""
    if len(parts) == 1:
        return parts[0]
    whole = part_type()
    for part in parts:
        body = whole.body + part.body
        has_body = whole.HasField("body") or part.HasField("body")
        whole.MergeFrom(part)
        if has_body:
            whole.body = body
    return whole
