"""Sending a response at its pace, until it ends, is cut, or the peer is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from starlette.types import Receive, Send

from blindrelay.testing.replies import Reply
from blindrelay.testing.requests import Outcome
from blindrelay.testing.responses import Response


async def deliver(response: Response, reply: Reply, receive: Receive, send: Send) -> Outcome:
    """Sends a response, and stops as soon as the peer is gone. Returns how it ended."""
    sending = asyncio.create_task(_send(response, reply, send))
    leaving = asyncio.create_task(_peer_gone(receive))
    try:
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        return sending.result() if sending.done() else "abandoned"
    finally:
        sending.cancel()
        leaving.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)


async def _peer_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(response: Response, reply: Reply, send: Send) -> Outcome:
    await send({"type": "http.response.start", "status": response.status, "headers": _headers(response)})
    await asyncio.sleep(reply.delay)
    for sent, (piece, is_last) in enumerate(_marking_last(response.pieces)):
        if sent == reply.cut_after:
            return "broken off"  # a server closes the connection of a response that has no end
        if is_last and reply.hold is not None:
            await reply.hold.passed()
        if sent:
            await asyncio.sleep(reply.pause)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return "answered"


def _headers(response: Response) -> list[tuple[bytes, bytes]]:
    headers = {name.lower(): value for name, value in response.headers.items()}
    if response.length is not None:
        headers["content-length"] = str(response.length)
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def _marking_last(pieces: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    previous = next(pieces)
    for piece in pieces:
        yield previous, False
        previous = piece
    yield previous, True
