"""Sealing and opening 64 KiB in the client, and PyNaCl's bare secretstream calls on as much.

python -m bench.peers.record_layers ours|bare
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final

from nacl import bindings

from bench.peers.worker import Case, serve
from blindrelay.sealing import RequestSealer, ResponseOpener, ResponseSealer
from blindrelay.v1.inner_pb2 import EXCHANGE_KIND_EXCHANGE, RequestHead, ResponseHead
from blindrelay.v1.limits import MAX_BODY_PIECE, RESPONSE_NONCE_SIZE

SEAL: Final = "seal 64 KiB"
OPEN: Final = "open 64 KiB"

_PIECE: Final = os.urandom(MAX_BODY_PIECE)
_RECORDS: Final = 64
_KEY: Final = os.urandom(32)

_State = bindings.crypto_secretstream_xchacha20poly1305_state


def _key(prefix: bytes) -> bytearray:
    return bytearray(_KEY)


def _our_sealer() -> RequestSealer:
    sealer = RequestSealer(_key)
    sealer.head(RequestHead(kind=EXCHANGE_KIND_EXCHANGE, method="POST", url="https://api.example/v1"))
    return sealer


def _our_seal(sealer: RequestSealer) -> None:
    for _ in range(_RECORDS):
        sealer.body(_PIECE)


def _our_records() -> tuple[ResponseOpener, list[bytes]]:
    sealer, opener = ResponseSealer(_key, os.urandom(RESPONSE_NONCE_SIZE)), ResponseOpener(_key)
    for record in sealer.seal(head=ResponseHead(status=200)):
        opener.open(record)
    return opener, [sealer.seal(body=_PIECE)[0] for _ in range(_RECORDS)]


def _our_open(made: tuple[ResponseOpener, list[bytes]]) -> None:
    opener, records = made
    for record in records:
        opener.open(record)


def _bare_sealer() -> Any:
    state = _State()
    bindings.crypto_secretstream_xchacha20poly1305_init_push(state, _KEY)
    return state


def _bare_seal(state: Any) -> None:
    for _ in range(_RECORDS):
        bindings.crypto_secretstream_xchacha20poly1305_push(state, _PIECE, None, 0)


def _bare_records() -> tuple[Any, list[bytes]]:
    sealer, opener = _State(), _State()
    header = bindings.crypto_secretstream_xchacha20poly1305_init_push(sealer, _KEY)
    bindings.crypto_secretstream_xchacha20poly1305_init_pull(opener, header, _KEY)
    push = bindings.crypto_secretstream_xchacha20poly1305_push
    return opener, [push(sealer, _PIECE, None, 0) for _ in range(_RECORDS)]


def _bare_open(made: tuple[Any, list[bytes]]) -> None:
    opener, records = made
    for record in records:
        bindings.crypto_secretstream_xchacha20poly1305_pull(opener, record, None)


CASES: Final = {
    "ours": {SEAL: Case(_our_seal, _our_sealer, _RECORDS), OPEN: Case(_our_open, _our_records, _RECORDS)},
    "bare": {SEAL: Case(_bare_seal, _bare_sealer, _RECORDS), OPEN: Case(_bare_open, _bare_records, _RECORDS)},
}

if __name__ == "__main__":
    serve(CASES[sys.argv[1]])
