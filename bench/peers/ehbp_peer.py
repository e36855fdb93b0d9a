"""tinfoil-ehbp: DHKEM X25519 and AES-256-GCM over bodies alone; heads stay in clear. Not post-quantum.

The package is a client; the server's side is made of the same libraries (pyhpke, and its own key derivation).
"""

from __future__ import annotations

import os
from typing import Any

from ehbp import ServerIdentity, derive_response_keys, encrypt_chunk, frame_chunk
from ehbp.identity import _new_suite
from ehbp.protocol import EXPORT_LABEL, EXPORT_LENGTH, HPKE_REQUEST_INFO, RESPONSE_NONCE_LENGTH

from bench.peers.worker import exchanges, serve

_FRAME = 65_536
_SUITE = _new_suite()
_KEYS = _SUITE.kem.derive_key_pair(os.urandom(32))
_IDENTITY = ServerIdentity(_KEYS.public_key.to_public_bytes())


def exchange(body: bytes) -> None:
    _response(body, [body[start : start + _FRAME] for start in range(0, len(body), _FRAME)])


def stream(body: bytes, piece: bytes, count: int) -> None:
    _response(body, [piece] * count)


def _response(body: bytes, pieces: list[bytes]) -> None:
    request = _IDENTITY.encrypt_request_body(body)
    keys = _open_request(request)
    nonce = os.urandom(RESPONSE_NONCE_LENGTH)
    server = derive_response_keys(keys, request.encapsulated_key, nonce)
    client = request.token.create_response_decryptor(nonce)
    for number, piece in enumerate(pieces):
        client.push(frame_chunk(encrypt_chunk(server, number, piece)))
    client.finish()


def _open_request(request: Any) -> bytes:
    context = _SUITE.create_recipient_context(
        request.encapsulated_key, _KEYS.private_key, info=HPKE_REQUEST_INFO
    )
    at = 0
    while at < len(request.body):
        length = int.from_bytes(request.body[at : at + 4], "big")
        context.open(request.body[at + 4 : at + 4 + length], b"")
        at += 4 + length
    exported: bytes = context.export(EXPORT_LABEL, EXPORT_LENGTH)
    return exported


if __name__ == "__main__":
    serve(exchanges(exchange, stream))
