"""hpke-http 4: DHKEM X25519 with a pre-shared key, in Rust; HTTP heads included. Not post-quantum."""

from __future__ import annotations

import os
from typing import Any

from hpke_http._native import AuthenticatedRequest, Client, Server, native_generate_key_pair

from bench.peers.worker import exchanges, serve

_LIMITS = (64 * 1_048_576, None, None, None, 64 * 1_048_576)
_PSK, _PSK_ID, _KEY_ID = os.urandom(32), b"bench-psk", os.urandom(32)
_PRIVATE, _PUBLIC = native_generate_key_pair()
_CLIENT = Client(_PUBLIC, _KEY_ID, _PSK, _PSK_ID, _LIMITS)
_SERVER = Server(_PRIVATE, _KEY_ID, _LIMITS)
_HEADERS = [("content-type", "application/json")]
_SSE = [("content-type", "text/event-stream")]


def exchange(body: bytes) -> None:
    request, opened = _request(body)
    request.open_finite_response(opened.protect_response(200, _HEADERS, body))


def stream(body: bytes, piece: bytes, count: int) -> None:
    request, opened = _request(body)
    opener = request.take_opener()
    sealer, start = opened.take_sealer(200, _SSE)
    _feed(opener, start)
    block = b"data: " + piece + b"\n\n"
    for _ in range(count):
        _feed(opener, sealer.seal_sse_block(block))
    _feed(opener, sealer.finish())
    opener.finish_eof()


def _feed(opener: Any, sealed: bytes) -> None:
    at = 0
    while at < len(sealed):
        used, _ = opener.feed(sealed, at)
        at += used


def _request(body: bytes) -> tuple[Any, Any]:
    request = _CLIENT.protect("POST", b"api.example", b"/v1", _HEADERS, body)
    authenticated: AuthenticatedRequest = _SERVER.preparse(request.take_envelope()).authenticate(
        _SERVER, _PSK
    )
    opened = authenticated.admit(True)
    opened.take_body()
    return request, opened


if __name__ == "__main__":
    serve(exchanges(exchange, stream))
