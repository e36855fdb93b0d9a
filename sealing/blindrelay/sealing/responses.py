"""A response as records or cells: the bridge seals it, the client opens it (spec/protocol.md, section 10)."""

from __future__ import annotations

from typing import Final

from blindrelay.sealing.cell_sealer import CellSealer
from blindrelay.sealing.cells import CellShape
from blindrelay.sealing.errors import StateError
from blindrelay.sealing.messages import MessageOpener, MessageSealer
from blindrelay.sealing.padding import FLOOR, lone_padding
from blindrelay.sealing.part_order import RESPONSE_ORDER, TUNNEL_STATUS
from blindrelay.sealing.records import DeriveKey
from blindrelay.v1.inner_pb2 import ExchangeError, Frame, ResponseHead, ResponsePart, ResponseTail
from blindrelay.v1.limits import MAX_BODY_PIECE, MAX_ERROR_MESSAGE, MAX_HEAD_SIZE, RESPONSE_NONCE_SIZE

_LARGEST_PART: Final = 69_561
"""The most bytes of a response's part. The record adds 20, the response nonce 32 and padding up to 19."""


class ResponseSealer(MessageSealer[ResponsePart]):
    """The bridge's side of a response. Every call returns records that can be sent at once."""

    def __init__(self, derive_key: DeriveKey, response_nonce: bytes) -> None:
        super().__init__(derive_key, RESPONSE_ORDER, _LARGEST_PART, response_nonce=response_nonce)

    def shape(self, shape: CellShape) -> None:
        """Pads every record from now on, and the whole as the shape says (section 9.6)."""
        self._strict = shape.strict
        self._zeros = _alone

    def in_cells(self, shape: CellShape) -> CellSealer:
        """Seals the response in cells from now on. Raises StateError if something is sealed already."""
        if self._records.sealed_size:
            raise StateError("a response in cells must begin with a cell")
        return CellSealer(self._records, self._direction, shape)

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


class ResponseOpener(MessageOpener[ResponsePart]):
    """The client's side of a response."""

    def __init__(self, derive_key: DeriveKey) -> None:
        super().__init__(derive_key, RESPONSE_ORDER, ResponsePart, RESPONSE_NONCE_SIZE)

    def _may_be_cells(self, place: int) -> bool:
        return place == 0 or super()._may_be_cells(place)

    def _wrong_with(self, part: ResponsePart) -> str | None:
        if part.HasField("head") and not _is_status(part.head.status):
            return "the status of a response is not 101 or 200 to 599"
        if part.HasField("error") and _is_long(part.error):
            return "the message of an error is over 1,024 bytes"
        return super()._wrong_with(part)


def _alone(part_size: int) -> int:
    return lone_padding(part_size, FLOOR)


def _is_status(status: int) -> bool:
    return 200 <= status <= 599 or status == TUNNEL_STATUS


def _is_long(error: ExchangeError) -> bool:
    return len(error.message.encode()) > MAX_ERROR_MESSAGE
