"""Sealing and opening pieces of a body, and PyNaCl's bare secretstream calls on as much.

python -m bench.peers.record_layers ours|bare
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from nacl import bindings

from bench.peers.worker import Case, serve
from blindrelay.sealing import RequestSealer, ResponseOpener, ResponseSealer
from blindrelay.v1.inner_pb2 import EXCHANGE_KIND_EXCHANGE, RequestHead, ResponseHead
from blindrelay.v1.limits import MAX_BODY_PIECE, RESPONSE_NONCE_SIZE

PIECES: Final = {"64 B": 64, "1 KiB": 1_024, "16 KiB": 16_384, "64 KiB": MAX_BODY_PIECE}
"""Bytes. A client gathers smaller pieces of a request into full records, so the others are a response's."""

_RECORDS: Final = 64
_KEY: Final = os.urandom(32)

_State = bindings.crypto_secretstream_xchacha20poly1305_state


def _key(_: bytes) -> bytearray:
    return bytearray(_KEY)


def _request_sealer() -> RequestSealer:
    sealer = RequestSealer(_key)
    sealer.head(RequestHead(kind=EXCHANGE_KIND_EXCHANGE, method="POST", url="https://api.example/v1"))
    return sealer


def _seal_request(piece: bytes, sealer: RequestSealer) -> None:
    for _ in range(_RECORDS):
        sealer.body(piece)


def _response_sealer() -> ResponseSealer:
    sealer = ResponseSealer(_key, os.urandom(RESPONSE_NONCE_SIZE))
    sealer.seal(head=ResponseHead(status=200))
    return sealer


def _seal_response(piece: bytes, sealer: ResponseSealer) -> None:
    for _ in range(_RECORDS):
        sealer.seal(body=piece)


def _our_records(piece: bytes) -> tuple[ResponseOpener, list[bytes]]:
    sealer, opener = ResponseSealer(_key, os.urandom(RESPONSE_NONCE_SIZE)), ResponseOpener(_key)
    for record in sealer.seal(head=ResponseHead(status=200)):
        opener.open(record)
    return opener, [sealer.seal(body=piece)[0] for _ in range(_RECORDS)]


def _our_open(made: tuple[ResponseOpener, list[bytes]]) -> None:
    opener, records = made
    for record in records:
        opener.open(record)


def _bare_sealer() -> Any:
    state = _State()
    bindings.crypto_secretstream_xchacha20poly1305_init_push(state, _KEY)
    return state


def _bare_seal(piece: bytes, state: Any) -> None:
    for _ in range(_RECORDS):
        bindings.crypto_secretstream_xchacha20poly1305_push(state, piece, None, 0)


def _bare_records(piece: bytes) -> tuple[Any, list[bytes]]:
    sealer, opener = _State(), _State()
    header = bindings.crypto_secretstream_xchacha20poly1305_init_push(sealer, _KEY)
    bindings.crypto_secretstream_xchacha20poly1305_init_pull(opener, header, _KEY)
    push = bindings.crypto_secretstream_xchacha20poly1305_push
    return opener, [push(sealer, piece, None, 0) for _ in range(_RECORDS)]


def _bare_open(made: tuple[Any, list[bytes]]) -> None:
    opener, records = made
    for record in records:
        bindings.crypto_secretstream_xchacha20poly1305_pull(opener, record, None)


def _ours(piece: bytes) -> tuple[Case, Case]:
    if len(piece) == MAX_BODY_PIECE:
        seal = Case(partial(_seal_request, piece), _request_sealer, _RECORDS)
    else:
        seal = Case(partial(_seal_response, piece), _response_sealer, _RECORDS)
    return seal, Case(_our_open, partial(_our_records, piece), _RECORDS)


def _bare(piece: bytes) -> tuple[Case, Case]:
    seal = Case(partial(_bare_seal, piece), _bare_sealer, _RECORDS)
    return seal, Case(_bare_open, partial(_bare_records, piece), _RECORDS)


def _cases(layer: Callable[[bytes], tuple[Case, Case]]) -> dict[str, Case]:
    cases = {}
    for name, size in PIECES.items():
        cases[f"seal {name}"], cases[f"open {name}"] = layer(os.urandom(size))
    return cases


if __name__ == "__main__":
    serve(_cases({"ours": _ours, "bare": _bare}[sys.argv[1]]))
