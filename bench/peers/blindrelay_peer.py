"""BlindRelay's sealing: X-Wing, then records by AES-256-GCM; heads, padding and order included."""

from __future__ import annotations

import os

from bench.peers.worker import exchanges, serve
from blindrelay.sealing import BridgeExchange, ClientExchange, SealingKey, decapsulate, encapsulate
from blindrelay.v1.envelope import encode_envelope
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.inner_pb2 import (
    BODY_END_LENGTH,
    CREDENTIAL_INJECTED,
    EXCHANGE_KIND_EXCHANGE,
    RequestHead,
    ResponseHead,
    ResponseTail,
)
from blindrelay.v1.limits import MAX_BODY_PIECE

_NOW = 1_700_000_000
_KEY = SealingKey.generate(not_before=_NOW, not_after=_NOW + 3_600)
_HEAD = RequestHead(
    kind=EXCHANGE_KIND_EXCHANGE, method="POST", url="https://api.example/v1", credential=CREDENTIAL_INJECTED
)
_RESPONSE_HEAD = ResponseHead(status=200)
_TAIL = ResponseTail(body_end=BODY_END_LENGTH)


def exchange(body: bytes) -> None:
    client, bridge = _request(body)
    pieces = [body[start : start + MAX_BODY_PIECE] for start in range(0, len(body), MAX_BODY_PIECE)]
    for number, piece in enumerate(pieces):
        head = None if number else _RESPONSE_HEAD
        tail = _TAIL if number == len(pieces) - 1 else None
        _pass(bridge.response.seal(head=head, body=piece, tail=tail), client)


def stream(body: bytes, piece: bytes, count: int) -> None:
    client, bridge = _request(body)
    _pass(bridge.response.seal(head=_RESPONSE_HEAD, body=piece), client)
    for _ in range(count - 1):
        _pass(bridge.response.seal(body=piece), client)
    _pass(bridge.response.seal(tail=_TAIL), client)


def _request(body: bytes) -> tuple[ClientExchange, BridgeExchange]:
    envelope = encode_envelope(
        Envelope(
            version=1,
            exchange_id=os.urandom(16),
            identity=bytes(32),
            key_id=_KEY.key_id,
            issued_at=_NOW,
            max_units=1_000_000,
        )
    )
    client = encapsulate(envelope, _KEY.config)
    bridge = decapsulate(envelope, client.encapsulated_secret, _KEY)
    client.request.head(_HEAD)
    for record in [*client.request.body(body), *client.request.end()]:
        bridge.request.open(record)
    return client, bridge


def _pass(records: list[bytes], client: ClientExchange) -> None:
    for record in records:
        client.response.open(record)


if __name__ == "__main__":
    serve(exchanges(exchange, stream))
