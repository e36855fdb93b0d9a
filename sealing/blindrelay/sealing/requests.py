"""A request as padded records: sealed by the client, opened by the bridge (spec/protocol.md, section 10)."""

from __future__ import annotations

from typing import Final

from blindrelay.sealing.errors import StateError
from blindrelay.sealing.messages import BODY_ALONE, BODY_NUMBER, MessageOpener, MessageSealer, joined
from blindrelay.sealing.part_order import REQUEST_ORDER
from blindrelay.sealing.records import Buffer, DeriveKey
from blindrelay.v1.bytes_field import lone_bytes_field
from blindrelay.v1.inner_pb2 import (
    EXCHANGE_KIND_TUNNEL,
    SHAPING_PROFILE_STRICT,
    Frame,
    RequestEnd,
    RequestHead,
    RequestPart,
)
from blindrelay.v1.limits import MAX_BODY_PIECE, MAX_HEAD_SIZE

_FULL_PART: Final = 65_596
"""Bytes of a request's part if more follow, so that every record but the last has 65,616 bytes."""

_BODY_FRAMING: Final = 4
"""Bytes of protobuf tag and length before a body piece of 16 KiB or more."""

_END_FRAMING: Final = 2
"""Bytes of a request's end, which is in one part with the last body piece."""


def _to_full(part_size: int) -> int:
    return _FULL_PART - part_size


class RequestSealer(MessageSealer[RequestPart]):
    """The client's side of a request: head, body in any pieces, end; in a tunnel, frames instead of a body.

    The body is gathered into full records, so that every record but the last has the same size. Sending less
    would gain nothing: the bridge acts on a request only when it has all of it.
    """

    def __init__(self, derive_key: DeriveKey) -> None:
        super().__init__(derive_key, REQUEST_ORDER, _FULL_PART, _to_full)
        self._head_given = False
        self._unsent_head: RequestHead | None = None
        self._unsent_body = bytearray()

    def head(self, head: RequestHead) -> None:
        """Takes the head, which is sealed with the first record.

        Raises StateError for a second head, or one over 32,768 bytes.
        """
        if self._head_given:
            raise StateError("a request has only one head")
        if head.ByteSize() > MAX_HEAD_SIZE:
            raise StateError("a request's method, URL and headers are over 32,768 bytes")
        self._head_given = True
        self._strict = head.shaping.profile == SHAPING_PROFILE_STRICT
        self._unsent_head = RequestHead()
        self._unsent_head.CopyFrom(head)

    def open_tunnel(self, head: RequestHead) -> list[bytes]:
        """The record of a head of kind TUNNEL. Raises StateError for another kind, and as head() does."""
        if head.kind != EXCHANGE_KIND_TUNNEL:
            raise StateError("the head of a tunnel must be of kind TUNNEL")
        self.head(head)
        return self._seal(self._part(b""))

    def frame(self, frame: Frame) -> list[bytes]:
        """The record of a frame. Raises StateError outside a tunnel, or if the frame may not follow."""
        return self._seal(RequestPart(frame=frame))

    def body(self, data: bytes | memoryview) -> list[bytes]:
        """Takes a piece of the body of any size. Returns the records that it fills, often none."""
        if not self._head_given or self.ended:
            raise StateError("a body must come between head and end")
        body, sealed = memoryview(data), list[bytes]()
        while len(self._unsent_body) + len(body) > (room := self._room()):
            taken = room - len(self._unsent_body)
            piece = self._unsent_body, body[:taken]
            self._unsent_body, body = bytearray(), body[taken:]
            if self._unsent_head is None:
                sealed += self._seal_body(*piece)
            else:
                sealed += self._seal(self._part(b"".join(piece)))
        self._unsent_body += body
        return sealed

    def end(self) -> list[bytes]:
        """The last records: the remaining body, the end and the padding."""
        if not self._head_given:
            raise StateError("a request must begin with its head")
        if self.ended:
            raise StateError("the request has ended")
        part = self._part(bytes(self._unsent_body))
        part.end.CopyFrom(RequestEnd())
        self._unsent_body.clear()
        return self._seal(part)

    def _room(self) -> int:
        head_size = self._unsent_head.ByteSize() + _BODY_FRAMING if self._unsent_head is not None else 0
        return min(MAX_BODY_PIECE, _FULL_PART - head_size - _BODY_FRAMING - _END_FRAMING)

    def _part(self, body: bytes) -> RequestPart:
        part = RequestPart(head=self._unsent_head)
        self._unsent_head = None
        if body:
            part.body = body
        return part


class RequestOpener(MessageOpener[RequestPart]):
    """The bridge's side of a request."""

    def __init__(self, derive_key: DeriveKey) -> None:
        super().__init__(derive_key, REQUEST_ORDER, RequestPart)

    def body(self, sealed: Buffer) -> Buffer:
        """What the next record holds of the body, perhaps nothing. Raises as open() does.

        A piece that is alone in its record is not copied. Any other record is opened as open() does it.
        """
        encoded, final = self._records.open(sealed)
        piece = None if final else lone_bytes_field(BODY_NUMBER, encoded)
        if piece is None or len(piece) > MAX_BODY_PIECE or self._direction.advance(BODY_ALONE) is not None:
            return joined(self._parts(encoded, final), RequestPart).body
        return piece
