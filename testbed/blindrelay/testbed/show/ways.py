"""The ways that an exchange can take, and what the relay on each of them has of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import httpx

from blindrelay.client import SealedTransport
from blindrelay.sealing import BALANCED, STRICT, CellShape
from blindrelay.testbed.attacks.relay import HostileRelay
from blindrelay.testbed.reading_relay import ReadingHandler, reading_relay
from blindrelay.testbed.show.dialogue import PATH, URL, Lines, words
from blindrelay.testbed.show.held import Held
from blindrelay.testbed.show.tricks import Trick
from blindrelay.testbed.tap import Direction, Forwarded
from blindrelay.testbed.topology import Testbed
from blindrelay.v1.envelope import METADATA_KEY

TIMEOUT: Final = 60.0
"""Seconds that the client waits for a sign of life."""

_LOOK_SECONDS: Final = 0.03
_SETTLE_SECONDS: Final = 0.2
"""What a relay still does when the client has all that it gets."""

_QUIET_SECONDS: Final = 0.6
"""More than two ticks of the slowest shape."""

_CELLS: Final = {"balanced": BALANCED, "strict": STRICT}

_NOTHING: Final = "nothing of this exchange; once a minute, how many of all exchanges ended how"


class Way(NamedTuple):
    """How the client reaches the provider: with this client, under this URL."""

    client: httpx.AsyncClient
    url: str


@asynccontextmanager
async def through_the_relay(bed: Testbed, shape: str, held: Held) -> AsyncIterator[Way]:
    """The real relay, with the testbed's tap, and what it writes down meanwhile."""
    tap = bed.follow_tap()
    tap.new()
    log = bed.parts["relay"].stderr
    watch = asyncio.create_task(_watch(held, tap.new))
    try:
        async with _sealed(bed.relay, shape) as way:
            yield way
            await _quiet(held, _CELLS.get(shape))
        await asyncio.sleep(_SETTLE_SECONDS)
    finally:
        watch.cancel()
        _tell(tap.new(), held)
    held.note("all that it writes down", bed.parts["relay"].stderr.removeprefix(log).strip() or _NOTHING)


@asynccontextmanager
async def through_a_hostile_relay(bed: Testbed, held: Held, trick: Trick) -> AsyncIterator[Way]:
    """One that has what a relay has, and does one thing that it should not."""
    hook = trick.hook(held)
    relay = HostileRelay([bed.parts["bridge"].listening], hook)
    async with relay.running() as address, _sealed(bed.connection(str(address)), "off") as way:
        yield way
        async with asyncio.timeout(TIMEOUT):
            await relay.idle.wait()
    for opened in hook.loot:
        held.read("has opened", opened)


@asynccontextmanager
async def through_a_reading_relay(bed: Testbed, held: Held) -> AsyncIterator[Way]:
    """Not BlindRelay: a relay as people use them today, between client and provider."""
    said = Lines()

    class Handler(ReadingHandler):
        provider = bed.provider

        def read_request(self, headers: dict[str, str], body: bytes) -> None:
            named = "\n".join(f"{name}: {value}" for name, value in headers.items())
            held.read("reads the request", f"{self.command} {self.path}\n{named}\n\n".encode() + body)

        def read_piece(self, piece: bytes) -> None:
            text = "".join(map(words, said.whole(piece)))
            if text:
                held.read("reads of the response", text.encode())

    with reading_relay(Handler) as url:
        async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
            yield Way(client, url + PATH)


@asynccontextmanager
async def _sealed(connection: str, shape: str) -> AsyncIterator[Way]:
    shaped = f"{connection}&shape={shape}"
    async with SealedTransport(shaped) as sealed, sealed.async_httpx_client(timeout=TIMEOUT) as client:
        yield Way(client, URL)


async def _quiet(held: Held, shape: CellShape | None) -> None:
    """Waits until no further message passes: the cells after the end of a shaped response do."""
    before, deadline = -1, time.monotonic() + TIMEOUT
    while before != held.messages or (not _is_whole(held.responses, shape) and time.monotonic() < deadline):
        before = held.messages
        await asyncio.sleep(_QUIET_SECONDS)


def _is_whole(cells: int, shape: CellShape | None) -> bool:
    """Whether a response may have this many cells. If not, the next one is late, as on a busy machine."""
    return shape is None or not cells or cells == shape.padded_count(cells)


async def _watch(held: Held, new: Callable[[], list[Forwarded]]) -> None:
    while True:
        _tell(new(), held)
        await asyncio.sleep(_LOOK_SECONDS)


def _tell(forwarded: Iterable[Forwarded], held: Held) -> None:
    for each in forwarded:
        if each.direction is Direction.OPEN:
            held.envelope(bytes.fromhex(each.metadata[METADATA_KEY]), each.at)
        else:
            held.message(each.direction, bytes.fromhex(each.first), at=each.at)
