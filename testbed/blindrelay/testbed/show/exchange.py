"""One exchange as the viewer asked for it: what the client knows of it, as it happens."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any, Final

import httpx

from blindrelay.client import BlindRelayError, SealedTransport
from blindrelay.testbed.attacks.relay import HostileRelay
from blindrelay.testbed.show.events import Events
from blindrelay.testbed.show.tricks import SHOWN, TRICKS
from blindrelay.testbed.tap import Direction, read_tap
from blindrelay.testbed.topology import Testbed

URL: Final = "https://api.openai.com/v1/chat/completions"
_PIECES_PER_SECOND: Final = 10
"""As a model would speak, so that a record holds a word."""

_LOOK_SECONDS: Final = 0.03
_SETTLE_SECONDS: Final = 0.2


class Exchanges:
    """Asks, one at a time, through the real relay or one that plays a trick."""

    def __init__(self, bed: Testbed, events: Events) -> None:
        self._bed = bed
        self._events = events
        self._one_at_a_time = asyncio.Lock()

    async def ask(self, prompt: str, trick: str) -> None:
        """Returns when the exchange has ended. `trick` is a name of TRICKS, or empty."""
        async with self._one_at_a_time:
            self._events.say("client", "begin", prompt=prompt, url=URL, trick=trick)
            try:
                await (self._through_a_hostile_relay(prompt, trick) if trick else self._tapped(prompt))
            finally:
                self._events.say("client", "over")

    async def _through_a_hostile_relay(self, prompt: str, trick: str) -> None:
        hook = TRICKS[trick].hook(self._events)
        relay = HostileRelay([self._bed.parts["bridge"].listening], hook)
        async with relay.running() as address:
            await self._through(self._bed.connection(str(address)), prompt)
            await asyncio.sleep(_SETTLE_SECONDS)

    async def _tapped(self, prompt: str) -> None:
        watch = asyncio.create_task(self._watch_the_tap())
        try:
            await self._through(self._bed.relay, prompt)
            await asyncio.sleep(_SETTLE_SECONDS)
        finally:
            watch.cancel()

    async def _through(self, connection: str, prompt: str) -> None:
        body = {"model": "model", "stream": True, "max_tokens": 48, "messages": [_said(prompt)]}
        if self._bed.provider_kind == "scripted":
            body["scripted"] = {"pieces_per_second": _PIECES_PER_SECOND}
        async with (
            SealedTransport(connection) as sealed,
            sealed.async_httpx_client(timeout=30) as client,
        ):
            try:
                async with client.stream("POST", URL, json=body) as answer:
                    if answer.status_code != httpx.codes.OK:
                        await answer.aread()
                        self._events.say("client", "error", text=_message(answer))
                        return
                    async for line in answer.aiter_lines():
                        self._show_piece(line)
                self._events.say("client", "whole")
            except (httpx.HTTPError, BlindRelayError) as error:
                self._events.say("client", "error", text=f"{type(error).__name__}: {error}")

    def _show_piece(self, line: str) -> None:
        with suppress(ValueError, KeyError, IndexError):
            text = json.loads(line.removeprefix("data: "))["choices"][0]["delta"].get("content")
            if text:
                self._events.say("client", "piece", text=text)

    async def _watch_the_tap(self) -> None:
        """Shows what the real relay forwards, from the file that its tap writes."""
        file = self._bed.folder / "forwarded.jsonl"
        shown = len(read_tap(file))
        while True:
            forwarded = read_tap(file)
            for each in forwarded[shown:]:
                if each.direction is Direction.OPEN:
                    self._events.say(
                        "relay", "envelope", hex=each.metadata.get("blindrelay-envelope-bin", "")
                    )
                else:
                    first = each.first[: 2 * SHOWN]
                    self._events.say("relay", each.direction.value, size=each.size, hex=first, changed=[])
            shown = len(forwarded)
            await asyncio.sleep(_LOOK_SECONDS)


def _said(prompt: str) -> dict[str, str]:
    return {"role": "user", "content": prompt}


def _message(answer: httpx.Response) -> str:
    error: Any = answer.json().get("error", {})
    who = answer.headers.get("x-blindrelay-error", "provider")
    return f"{who}: {error.get('message', answer.status_code)}"
