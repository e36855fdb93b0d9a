"""How long the bridge's event loop is kept from a heartbeat while large bodies are judged.

Nothing on a request's path may hold it for more than 100 ms (docs/adr/0019-stateless-bodies.md).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Final

from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.policy.urls import parse_origin
from blindrelay.provider_bridge.presets import presets
from blindrelay.provider_bridge.providers import Provider
from blindrelay.provider_bridge.stateless.body_check import BodyCheck
from blindrelay.provider_bridge.stateless.checker import CHECK_INLINE, Checker

LARGEST: Final = 33_554_432
"""Bytes. What a bridge takes of one request, unless it is told otherwise."""

CHAT: Final = "/v1/chat/completions"
FORM: Final = "/v1/audio/transcriptions"
_PART: Final = b"--b\r\nContent-Disposition: form-data; "
_FILE: Final = _PART + b'name="file"; filename="x"\r\n\r\n'
_END: Final = b"\r\n--b--\r\n"
_BEAT: Final = 0.002
"""Seconds between two heartbeats."""


def _filled(begin: bytes, piece: bytes, end: bytes) -> Callable[[int], bytes]:
    return lambda size: begin + piece * max(1, (size - len(begin) - len(end)) // len(piece)) + end


def _numbered(begin: bytes, piece: bytes, size: int) -> bytes:
    return begin + b",".join(piece % number for number in range(size // (len(piece) + 6))) + b"}}"


SHAPES: Final[dict[str, tuple[str, Callable[[int], bytes]]]] = {
    "one string": (CHAT, _filled(b'{"user":"', b"a", b'"}')),
    "escapes": (CHAT, _filled(b'{"user":"', b"\\n", b'"}')),
    "unicode escapes": (CHAT, _filled(b'{"user":"', b"\\u00e9", b'"}')),
    "emoji": (CHAT, _filled(b'{"user":"', "😀".encode(), b'"}')),
    "numbers": (CHAT, _filled(b'{"stop":[1', b",1.5e5", b"]}")),
    "long numbers": (CHAT, _filled(b'{"stop":[1', b"," + b"9" * 4_000, b"]}")),
    "messages": (CHAT, _filled(b'{"messages":[{"role":"user"}', b',{"role":"user"}', b"]}")),
    "objects": (CHAT, _filled(b'{"metadata":[{}', b",{}", b"]}")),
    "keys": (CHAT, lambda size: _numbered(b'{"metadata":{', b'"%x":1', size)),
    "one key": (CHAT, _filled(b'{"metadata":{"a":1', b',"a":1', b"}}")),
    "depth": (CHAT, _filled(b'{"metadata":', b"[", b"]}")),
    "depth again and again": (CHAT, _filled(b'{"stop":[1', b"," + b"[" * 900 + b"]" * 900, b"]}")),
    "space": (CHAT, _filled(b"{", b" ", b"}")),
    "file": (FORM, _filled(_FILE, b"a", _END)),
    "lines in a file": (FORM, _filled(_FILE, b"\r\n-", _END)),
    "parts": (FORM, _filled(b"", _PART + b'name="model"\r\n\r\nx\r\n', b"--b--\r\n")),
    "part headers": (FORM, _filled(b"", _PART + b'name="' + b"; " * 2_000 + b'"\r\n\r\nx\r\n', b"--b--\r\n")),
}
"""The path at OpenAI, and what makes a body of about so many bytes."""


def shape_check(path: str) -> BodyCheck:
    """How a body of a shape's path is judged."""
    return BodyCheck("openai", "forms" if path == FORM else "bodies", path, b"b" if path == FORM else b"")


def openai_checker() -> Checker:
    """A checker of its own, for OpenAI's API."""
    known = presets()["openai"]
    origin = parse_origin("https://api.openai.com")
    provider = Provider(
        "openai", origin, origin, None, known.injected, known.brought, stateless=known.stateless
    )
    return Checker([provider])


async def longest_pause(work: Awaitable[None], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that the event loop was kept from a heartbeat, at most, while something was awaited."""
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            before = clock()
            await asyncio.sleep(_BEAT)
            longest = max(longest, clock() - before - _BEAT)

    beating = asyncio.create_task(beat())
    try:
        await work
    finally:
        await asyncio.sleep(0)
        beating.cancel()
    return longest


def body_checks(size: int) -> str:
    """A table: each shape, at the size given and at the largest that is judged inline."""
    return "\n".join(asyncio.run(_lines(size)))


async def _lines(size: int) -> list[str]:
    checker = openai_checker()
    try:
        await checker.check(shape_check(CHAT), bytearray(SHAPES["escapes"][1](CHECK_INLINE * 2)))
        head = f"| shape | {size} bytes: longest pause | whole check | {CHECK_INLINE} bytes, inline |"
        return [head, "|---|---|---|---|", *[line async for line in _measured(checker, size)]]
    finally:
        await checker.aclose()


async def _measured(checker: Checker, size: int) -> AsyncIterator[str]:
    for name, (path, make) in SHAPES.items():
        pause, whole = await _check(checker, path, make(size))
        small = make(CHECK_INLINE)[:CHECK_INLINE]
        inline = min([(await _check(checker, path, small))[1] for _ in range(3)])
        yield f"| {name} | {1_000 * pause:.1f} ms | {1_000 * whole:.0f} ms | {1_000 * inline:.1f} ms |"


async def _check(checker: Checker, path: str, body: bytes) -> tuple[float, float]:
    """Seconds: the longest pause, and the whole check."""
    held = bytearray(body)

    async def check() -> None:
        with suppress(RequestError):  # of what is over the bounds
            await checker.check(shape_check(path), held)

    before = time.perf_counter()
    pause = await longest_pause(check())
    return pause, time.perf_counter() - before
