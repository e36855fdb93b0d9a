"""Records what the relay sees of exchanges, many at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import httpx

from blindrelay.client import BlindRelayError, SealedTransport
from blindrelay.client.relay_view import RelayView
from blindrelay.testbed.errors import TestbedError
from blindrelay.testbed.trace.scene import Scene, SeenReader
from blindrelay.testbed.trace.texts import FAILURES
from blindrelay.testbed.trace.traced_relay import Seen

SHAPES: Final = ("off", "balanced", "strict")

Passing = tuple[float, str, int]
"""Milliseconds since the request's first record, "up" or "down", bytes of the gRPC message."""

_URL: Final = "https://api.openai.com/v1/chat/completions"
_LOOK_SECONDS: Final = 0.05
_EXCHANGES_A_CLIENT: Final = 20
"""Fewer than a client continues to read in the background after their text is complete."""
_STAGGER_SECONDS: Final = 0.5
"""In which the first exchanges begin one after another, so that their clocks do not tick together."""

_exchange_ids: ContextVar[list[str]] = ContextVar("exchange ids")


@dataclass(frozen=True)
class Recorded:
    """One exchange as the relay saw it.

    Attributes:
        number: of its text in the scene.
        label: of its text.
        trace: every message until the bridge's end of the exchange, padding included.
        first: milliseconds until the client had the first of the text, or an error.
    """

    number: int
    label: Any
    trace: list[Passing]
    first: float


Done = Callable[[Recorded], None]


async def record(scene: Scene, shape: str, numbers: Iterable[int], parallel: int, done: Done) -> None:
    """Makes the exchanges of these texts, `parallel` at once, and calls `done` as each ends.

    Raises TestbedError if one of them does not go as its text says.
    """
    waiting = iter(numbers)
    async with following(scene.seen) as tap, AsyncExitStack() as stack:
        count = math.ceil(parallel / _EXCHANGES_A_CLIENT)
        clients = [await stack.enter_async_context(_client(scene.connection, shape)) for _ in range(count)]
        recorders = [_Recorder(scene, clients[place % count], tap) for place in range(parallel)]
        await staggered([partial(_work, each, waiting, done) for each in recorders], _STAGGER_SECONDS)


async def staggered(works: Sequence[Callable[[], Awaitable[None]]], seconds: float) -> None:
    """Does all of it at once, begun one after another within these seconds. Raises the first TestbedError."""

    async def begin(place: int, work: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(place * seconds / len(works))
        await work()

    try:
        async with asyncio.TaskGroup() as tasks:
            for place, work in enumerate(works):
                tasks.create_task(begin(place, work))
    except* TestbedError as errors:
        raise errors.exceptions[0] from None


def sealed_client(connection: str, shape: str) -> SealedTransport:
    """A client whose exchanges take as long as they like. It notes their ids for `exchange_ids`."""

    def note(view: RelayView) -> None:
        _exchange_ids.get().append(view.envelope.exchange_id.hex())

    options = f"&shape={shape}&deadline=6h&first_byte=6h&idle=6h"
    return SealedTransport(connection + options, observer=note)


def exchange_ids() -> list[str]:
    """A list to which the ids are added, in hex, of the exchanges that the running task makes from now on."""
    ids: list[str] = []
    _exchange_ids.set(ids)
    return ids


@asynccontextmanager
async def _client(connection: str, shape: str) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        sealed_client(connection, shape) as sealed,
        sealed.async_httpx_client(timeout=None) as client,
    ):
        yield client


async def _work(recorder: _Recorder, waiting: Iterable[int], done: Done) -> None:
    for number in waiting:
        done(await recorder.record(number))


class Tap:
    """What the relay has seen, by exchange."""

    def __init__(self) -> None:
        self._seen: defaultdict[str, list[Seen]] = defaultdict(list)
        self._ended: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def follow(self, reader: SeenReader) -> None:
        """Reads until it is cancelled."""
        while True:
            for seen in reader.new():
                if seen.what == "end":
                    self._ended[seen.exchange].set()
                else:
                    self._seen[seen.exchange].append(seen)
            await asyncio.sleep(_LOOK_SECONDS)

    async def whole(self, exchange: str) -> list[Passing]:
        """The messages of an exchange, once it has ended."""
        await self._ended[exchange].wait()
        del self._ended[exchange]
        seen = self._seen.pop(exchange, [])
        began = next((each.at for each in seen if each.what == "up"), 0.0)
        return [(round((each.at - began) * 1_000, 3), each.what, each.size) for each in seen]


@asynccontextmanager
async def following(reader: SeenReader) -> AsyncIterator[Tap]:
    """Notes what a traced relay sees while the block runs."""
    tap = Tap()
    follower = asyncio.create_task(tap.follow(reader))
    try:
        yield tap
    finally:
        follower.cancel()


class _Recorder:
    """Makes exchanges one after another."""

    def __init__(self, scene: Scene, client: httpx.AsyncClient, tap: Tap) -> None:
        self._scene = scene
        self._client = client
        self._tap = tap

    async def record(self, number: int) -> Recorded:
        """One exchange, until the relay has seen its end."""
        replay = self._scene.replays[number]
        ids = exchange_ids()
        first, said = await self._exchange(number, stored=replay.ending == "refused")
        if said.endswith(b"data: [DONE]\n\n") == (replay.ending in FAILURES):
            raise TestbedError(f"the response with text {number} is not as it should be: {said[-200:]!r}")
        trace = await self._tap.whole(ids[-1])
        return Recorded(number, replay.label, trace, first)

    async def _exchange(self, number: int, *, stored: bool) -> tuple[float, bytes]:
        """The time to the first of the text in milliseconds, and the body's end or the error's text."""
        content = f"Please give me the answer with the number {number:06}"
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": content}], "stream": True}
        began = time.monotonic()
        first, end = 0.0, b""
        try:
            async with self._client.stream("POST", _URL, json=body | {"store": stored}) as response:
                async for piece in response.aiter_bytes():
                    first = first or time.monotonic() - began
                    end = (end + piece)[-1_000:]
        except (httpx.HTTPError, BlindRelayError) as error:
            return (first or time.monotonic() - began) * 1_000, str(error).encode()
        return (first or time.monotonic() - began) * 1_000, end


def as_json(recorded: Recorded) -> dict[str, Any]:
    """What `trace` prints of an exchange."""
    return {"label": recorded.label, "trace": recorded.trace}


def sizes(trace: Sequence[Passing]) -> list[int]:
    """The sizes of the messages to the client."""
    return [size for _, direction, size in trace if direction == "down"]
