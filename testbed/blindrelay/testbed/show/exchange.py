"""One exchange as the viewer asked for it: what the client knows of it, as it happens."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import httpx

from blindrelay.client import BlindRelayError
from blindrelay.testbed.show.dialogue import chat, words
from blindrelay.testbed.show.events import Events
from blindrelay.testbed.show.held import Held
from blindrelay.testbed.show.tricks import TRICKS
from blindrelay.testbed.show.ways import (
    Way,
    through_a_hostile_relay,
    through_a_reading_relay,
    through_the_relay,
)
from blindrelay.testbed.topology import Testbed

HONEST: Final = "honest"
READING: Final = "reading"
SHAPES: Final = {
    "balanced": "cells on a clock, the default",
    "strict": "larger and slower cells, fewer lengths",
    "off": "records as the text comes",
}
"""What the sizes and times of a response may be, by the name of the client's option."""

RELAYS: Final = (HONEST, *TRICKS, READING)
"""What the relay can be, by name: the real one, one that plays a trick, and one that is not BlindRelay's."""


class Exchanges:
    """Asks, one at a time, through one relay or another."""

    def __init__(self, bed: Testbed, events: Events) -> None:
        self._bed = bed
        self._events = events
        self._one_at_a_time = asyncio.Lock()

    async def ask(self, prompt: str, relay: str, shape: str) -> None:
        """Returns when the exchange has ended. `relay` is one of RELAYS, `shape` one of SHAPES."""
        async with self._one_at_a_time:
            self._say("begin", prompt=prompt, relay=relay)
            held, text = Held(self._events), list[str]()
            try:
                async with self._way(relay, shape, held) as way:
                    await self._through(way, prompt, text)
            finally:
                held.search([prompt, "".join(text)])
                self._say("over")

    def _way(self, relay: str, shape: str, held: Held) -> AbstractAsyncContextManager[Way]:
        if relay == HONEST:
            return through_the_relay(self._bed, shape, held)
        if relay == READING:
            return through_a_reading_relay(self._bed, held)
        return through_a_hostile_relay(self._bed, held, TRICKS[relay])

    async def _through(self, way: Way, prompt: str, text: list[str]) -> None:
        """Sends the request; the response's pieces are added to `text`."""
        body = chat(prompt, self._bed.provider_kind)
        request = way.client.build_request("POST", way.url, json=body)
        headers = [f"{name}: {value}" for name, value in request.headers.items()]
        self._say("request", line=f"POST {way.url}", headers=headers)
        try:
            response = await way.client.send(request, stream=True)
            try:
                await self._read(response, text)
            finally:
                await response.aclose()
        except (httpx.HTTPError, BlindRelayError) as error:
            self._say("error", text=f"{type(error).__name__}: {error}")

    async def _read(self, response: httpx.Response, text: list[str]) -> None:
        if response.status_code != httpx.codes.OK:
            await response.aread()
            self._say("error", text=_message(response))
            return
        async for line in response.aiter_lines():
            if piece := words(line):
                text.append(piece)
                self._say("piece", text=piece)
        self._say("whole")

    def _say(self, what: str, **more: Any) -> None:
        self._events.say("client", what, **more)


def _message(response: httpx.Response) -> str:
    error: Any = response.json().get("error", {})
    who = response.headers.get("x-blindrelay-error", "provider")
    return f"{who}: {error.get('message', response.status_code)}"
