"""Replies: what a test tells the scripted provider to answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

DEFAULT_TEXT: Final = "Hello from the scripted provider."


class Gate:
    """Holds the last piece of a response back until `release()` is called, from any thread."""

    def __init__(self) -> None:
        self._released: Future[None] = Future()

    def release(self) -> None:
        """Lets every response that waits here go on, and later ones pass."""
        with suppress(InvalidStateError):
            self._released.set_result(None)

    async def passed(self) -> None:
        """Waits until the gate is released."""
        # Cancelling one response must not cancel the future that others wait for.
        await asyncio.shield(asyncio.wrap_future(self._released))


@dataclass(frozen=True)
class Reply:
    """One response of the scripted provider.

    Attributes:
        text: what the model says, in the shape of the API that was called, streamed if the request asks for
            a stream (one event for each word). With a status from 400 on, the message of the API's error.
        json: a JSON body to send as it is, in place of `text`; it is never streamed.
        status: the HTTP status.
        headers: more response headers.
        delay: seconds between the head of the response and its first piece.
        pause: seconds between two pieces.
        hold: keeps the last piece back until the gate is released.
        cut_after: the connection is closed after so many pieces, as if the provider had crashed.

    A piece is one event of a stream. Any other response has two: all but the last byte, and the last byte.
    """

    text: str = DEFAULT_TEXT
    json: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    pause: float = 0.0
    hold: Gate | None = None
    cut_after: int | None = None
