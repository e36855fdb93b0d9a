"""Requests and responses as padded records (spec/protocol.md, section 10).

Each object serves one direction of one exchange.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from google.protobuf.message import DecodeError

from blindrelay.sealing.errors import StateError, ViolationError
from blindrelay.sealing.padding import RECORD_OVERHEAD, final_padding, tunnel_padding
from blindrelay.sealing.part_order import (
    REQUEST_ORDER,
    RESPONSE_ORDER,
    TUNNEL_STATUS,
    Direction,
    Order,
)
from blindrelay.sealing.records import Buffer, DeriveKey, RecordOpener, RecordSealer
from blindrelay.v1.bytes_field import bytes_field_start
from blindrelay.v1.inner_pb2 import (
    EXCHANGE_KIND_TUNNEL,
    ExchangeError,
    Frame,
    RequestEnd,
    RequestHead,
    RequestPart,
    ResponseHead,
    ResponsePart,
    ResponseTail,
)
from blindrelay.v1.limits import MAX_BODY_PIECE, MAX_ERROR_MESSAGE, MAX_HEAD_SIZE, RESPONSE_NONCE_SIZE

_FULL_PART: Final = 65_596
"""Bytes of a request's part if more follow, so that every record but the last has 65,616 bytes."""

_LARGEST_PART: Final = 69_561
"""The most bytes of a response's part. The record adds 20, the response nonce 32 and padding up to 19."""

_BODY_FRAMING: Final = 4
"""Bytes of protobuf tag and length before a body piece of 16 KiB or more."""

_BODY_ALONE: Final = RequestPart(body=b"")
_BODY_NUMBER: Final = RequestPart.BODY_FIELD_NUMBER
"""Both kinds of parts have the field `body`, with this number."""

_END_FRAMING: Final = 2
"""Bytes of a request's end, which is in one part with the last body piece."""

PartT = TypeVar("PartT", RequestPart, ResponsePart)


class _Sealer(Generic[PartT]):
    def __init__(
        self, derive_key: DeriveKey, order: Order, full_part: int, response_nonce: bytes = b""
    ) -> None:
        self._records = RecordSealer(derive_key, response_nonce)
        self._direction = Direction(order)
        self._full_part = full_part

    @property
    def ended(self) -> bool:
        """Whether the whole message is sealed."""
        return self._direction.ended

    def _seal(self, part: PartT, *, size: int = 0) -> list[bytes]:
        """The records of a part, padded to `size` bytes; the end of a message also gets the final padding.

        In a tunnel each part is one record with its own padding.
        """
        if (wrong := self._direction.advance(part)) is not None:
            raise StateError(wrong)
        encoded = part.SerializeToString()
        if self._direction.is_tunnel:
            return [self._records.seal(encoded, zeros=tunnel_padding(len(encoded)), final=self.ended)]
        if not self.ended:
            return [self._records.seal(encoded, zeros=max(0, size - len(encoded)))]
        last, full = RECORD_OVERHEAD + len(encoded), RECORD_OVERHEAD + self._full_part
        sent = self._records.sealed_size + self._records.size_of(len(encoded)) - last
        first, *more = final_padding(sent, last, full)
        sealed = [self._records.seal(encoded, zeros=first, final=not more)]
        return sealed + [
            self._records.seal(b"", zeros=zeros, final=place == len(more))
            for place, zeros in enumerate(more, start=1)
        ]

    def _seal_body(self, *body: Buffer, size: int = 0) -> list[bytes]:
        """The same for a part with a piece of the body alone. No message of protobuf copies it."""
        if (wrong := self._direction.advance(_BODY_ALONE)) is not None:
            raise StateError(wrong)
        length = sum(map(len, body))
        start = bytes_field_start(_BODY_NUMBER, length)
        zeros = max(0, size - len(start) - length)
        return [self._records.seal(start, *body, zeros=zeros)]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {'ended' if self.ended else 'open'}>"


class RequestSealer(_Sealer[RequestPart]):
    """The client's side of a request: head, body in any pieces, end; in a tunnel, frames instead of a body.

    The body is gathered into full records, so that every record but the last has the same size. Sending less
    would gain nothing: the bridge acts on a request only when it has all of it.
    """

    def __init__(self, derive_key: DeriveKey) -> None:
        super().__init__(derive_key, REQUEST_ORDER, _FULL_PART)
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
                sealed += self._seal_body(*piece, size=_FULL_PART)
            else:
                sealed += self._seal(self._part(b"".join(piece)), size=_FULL_PART)
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


class ResponseSealer(_Sealer[ResponsePart]):
    """The bridge's side of a response. Every call returns records that can be sent at once."""

    def __init__(self, derive_key: DeriveKey, response_nonce: bytes) -> None:
        super().__init__(derive_key, RESPONSE_ORDER, _LARGEST_PART, response_nonce)

    def seal(
        self,
        *,
        head: ResponseHead | None = None,
        body: bytes | None = None,
        frame: Frame | None = None,
        tail: ResponseTail | None = None,
        error: ExchangeError | None = None,
    ) -> list[bytes]:
        """The records of the given parts: one record if they fit into one.

        A tail or an error ends the response; the last record is then the final one, padding included. A head
        of status 101 opens a tunnel, whose frames are given one by one.

        Raises StateError if the parts are out of order or too large: a head over 32,768 bytes, a body over
        65,536, an error's message over 1,024.
        """
        if error is not None and _is_long(error):
            raise StateError("the message of an error is over 1,024 bytes")
        if head is not None and head.ByteSize() > MAX_HEAD_SIZE:
            raise StateError("a response's headers are over 32,768 bytes")
        if body is not None and len(body) > MAX_BODY_PIECE:
            raise StateError("a body piece is over 65,536 bytes")
        if body is not None and all(other is None for other in (head, frame, tail, error)):
            return self._seal_body(body)
        if head is not None and body is not None and head.ByteSize() + len(body) > MAX_BODY_PIECE:
            return self._seal(ResponsePart(head=head)) + self.seal(body=body, tail=tail, error=error)
        return self._seal(ResponsePart(head=head, body=body, frame=frame, tail=tail, error=error))


class _Opener(Generic[PartT]):
    def __init__(
        self, derive_key: DeriveKey, order: Order, part_type: type[PartT], prefix_size: int = 0
    ) -> None:
        self._records = RecordOpener(derive_key, prefix_size)
        self._direction = Direction(order)
        self._parse: Callable[[bytes], PartT] = part_type.FromString

    @property
    def ended(self) -> bool:
        """Whether the message is complete. Only padding can follow."""
        return self._direction.ended

    @property
    def finished(self) -> bool:
        """Whether the final record has opened. Nothing can follow."""
        return self._records.finished

    def open(self, sealed: bytes) -> PartT:
        """The part in a record. A part without any field is padding.

        Raises OpenError if the record does not open, and ViolationError if the part is out of order or over
        a limit. The first error is raised again on every later use.
        """
        encoded, final = self._records.open(sealed)
        try:
            part = self._parse(encoded)
        except DecodeError:
            self._records.fail(ViolationError("a record does not contain a part"))
        wrong = self._wrong_with(part) or self._direction.advance(part)
        if wrong is None and final and not self.ended:
            wrong = "the final record comes before the end of the message"
        if wrong is not None:
            self._records.fail(ViolationError(wrong))
        return part

    def close(self) -> None:
        """Tells that the stream has ended. Raises TruncatedError unless the final record has opened."""
        self._records.close()

    def _wrong_with(self, part: PartT) -> str | None:
        if part.HasField("head") and part.head.ByteSize() > MAX_HEAD_SIZE:
            return "a head is over 32,768 bytes"
        if len(part.body) > MAX_BODY_PIECE:
            return "a body piece is over 65,536 bytes"
        return None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {self._records!r}>"


class RequestOpener(_Opener[RequestPart]):
    """The bridge's side of a request."""

    def __init__(self, derive_key: DeriveKey) -> None:
        super().__init__(derive_key, REQUEST_ORDER, RequestPart)


class ResponseOpener(_Opener[ResponsePart]):
    """The client's side of a response."""

    def __init__(self, derive_key: DeriveKey) -> None:
        super().__init__(derive_key, RESPONSE_ORDER, ResponsePart, RESPONSE_NONCE_SIZE)

    def _wrong_with(self, part: ResponsePart) -> str | None:
        status = part.head.status
        if part.HasField("head") and not (200 <= status <= 599 or status == TUNNEL_STATUS):
            return "the status of a response is not 101 or 200 to 599"
        if _is_long(part.error):
            return "the message of an error is over 1,024 bytes"
        return super()._wrong_with(part)


def _is_long(error: ExchangeError) -> bool:
    return len(error.message.encode()) > MAX_ERROR_MESSAGE
