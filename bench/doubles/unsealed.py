"""The same client and bridge with sealing taken out: no encapsulation, no keys, no records, no padding.

    python -m bench.doubles.unsealed serve --config bridge.toml --json

What stays is all the rest: the parts as protobuf messages, gRPC, the envelope and the relay, the claim, the
policy, the call to the provider. The difference to the real path is what sealing costs. Both sides must be
replaced; a real one refuses what these send.
"""

from __future__ import annotations

from typing import Any

from blindrelay.sealing import BridgeExchange, ClientExchange, SealingKey
from blindrelay.v1.inner_pb2 import (
    ExchangeError,
    RequestEnd,
    RequestHead,
    RequestPart,
    ResponseHead,
    ResponsePart,
    ResponseTail,
)
from blindrelay.v1.limits import MAX_BODY_PIECE


class PlainRequestWriter:
    """Replaces a RequestSealer: the same pieces in the same number of messages, in clear."""

    def __init__(self) -> None:
        self.ended = False
        self._head: RequestHead | None = None
        self._pending = bytearray()

    def head(self, head: RequestHead) -> None:
        self._head = head

    def body(self, data: bytes | memoryview) -> list[bytes]:
        self._pending += data
        messages = []
        while len(self._pending) > MAX_BODY_PIECE:
            messages.append(self._part(bytes(self._pending[:MAX_BODY_PIECE])).SerializeToString())
            del self._pending[:MAX_BODY_PIECE]
        return messages

    def end(self) -> list[bytes]:
        part = self._part(bytes(self._pending))
        part.end.CopyFrom(RequestEnd())
        self.ended = True
        return [part.SerializeToString()]

    def _part(self, body: bytes) -> RequestPart:
        head, self._head = self._head, None
        return RequestPart(head=head, body=body or None)


class PlainRequestReader:
    """Replaces a RequestOpener."""

    def __init__(self) -> None:
        self.finished = self.ended = False

    def open(self, message: bytes) -> RequestPart:
        part = RequestPart.FromString(message)
        self.finished = self.ended = part.HasField("end")
        return part

    def parts(self, message: bytes) -> list[RequestPart]:
        return [self.open(message)]

    def body(self, message: bytes) -> bytes:
        return self.open(message).body

    def close(self) -> None:
        if not self.finished:
            raise EOFError


class PlainResponseWriter:
    """Replaces a ResponseSealer."""

    def __init__(self) -> None:
        self.ended = False

    def seal(
        self,
        *,
        head: ResponseHead | None = None,
        body: bytes | None = None,
        tail: ResponseTail | None = None,
        error: ExchangeError | None = None,
    ) -> list[bytes]:
        self.ended = tail is not None or error is not None
        return [ResponsePart(head=head, body=body, tail=tail, error=error).SerializeToString()]


class PlainResponseReader:
    """Replaces a ResponseOpener."""

    in_cells = False

    def __init__(self) -> None:
        self.finished = self.ended = False

    def open(self, message: bytes) -> ResponsePart:
        part = ResponsePart.FromString(message)
        self.finished = self.ended = part.HasField("tail") or part.HasField("error")
        return part

    def parts(self, message: bytes) -> list[ResponsePart]:
        return [self.open(message)]

    def close(self) -> None:
        if not self.finished:
            raise EOFError


def encapsulate(envelope: bytes, config: bytes) -> ClientExchange:
    """Encapsulates nothing."""
    request: Any = PlainRequestWriter()
    response: Any = PlainResponseReader()
    return ClientExchange(b"", request, response, lambda: bytes(8))


def decapsulate(envelope: bytes, encapsulated_secret: bytes, key: SealingKey) -> BridgeExchange:
    """Decapsulates nothing."""
    request: Any = PlainRequestReader()
    response: Any = PlainResponseWriter()
    return BridgeExchange(request, response, bytes(8))


def take_sealing_out_of_the_client() -> None:
    """Replaces it in this process, until it ends. Raises AttributeError if the client has changed."""
    from blindrelay.client import encapsulation_ahead

    _replace(encapsulation_ahead, "encapsulate", encapsulate)


def take_sealing_out_of_the_bridge() -> None:
    """Replaces it in this process, as above."""
    from blindrelay.provider_bridge import exchange_opener

    _replace(exchange_opener, "decapsulate", decapsulate)


def _replace(module: Any, name: str, double: object) -> None:
    getattr(module, name)
    setattr(module, name, double)


if __name__ == "__main__":
    from blindrelay.provider_bridge.cli import main

    take_sealing_out_of_the_bridge()
    main()
