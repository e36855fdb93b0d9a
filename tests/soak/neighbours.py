"""How long small requests of others take while one token is greedy, or one bridge is hostile."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import grpc

from blindrelay.client import SealedTransport
from blindrelay.serving import issue_token
from blindrelay.testbed import Testbed
from blindrelay.testbed.processes import PartProcess
from blindrelay.v1.grpc_profile import KEY_DIRECTORY_METHOD
from blindrelay.v1.identity_text import format_identity
from tests.adversarial.h2_peer import Peer, message_start, opening, peers
from tests.adversarial.target import Target
from tests.relay_node.fake_bridge import FakeBridge
from tests.relay_node.raw_client import Client

_CHAT: Final = "https://api.openai.com/v1/chat/completions"
_BODY: Final = {"model": "m", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
_WORSE: Final = 3
"""How many times the quiet 99th percentile is allowed."""

_PACE: Final = 0.05
_ROUND: Final = 5.0
_INITIAL_WINDOW_SIZE: Final = 4


@dataclass(frozen=True)
class Course:
    """Seconds of small requests, without and with a bad neighbour."""

    name: str
    quiet: list[float]
    beside: list[float]

    def __str__(self) -> str:
        count, quiet, beside = len(self.beside), p99(self.quiet) * 1_000, p99(self.beside) * 1_000
        return f"{self.name}: p99 of {count} requests {beside:.0f} ms, {quiet:.0f} ms when it is quiet"

    @property
    def complaints(self) -> list[str]:
        worse = p99(self.beside) > _WORSE * p99(self.quiet)
        return [f"{self}: more than {_WORSE} times as long"] if worse else []


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)]


async def beside_a_greedy_token(bed: Testbed, seconds: float) -> Course:
    """Raises if a request is not served."""
    quiet = await _served(bed.relay, seconds / 2)
    async with _greedy(Target(bed, "relay", issue_token(bed.folder / "tokens", "greedy", datetime.now(UTC)))):
        return Course("one greedy token", quiet, await _served(bed.relay, seconds))


async def beside_a_hostile_bridge(bed: Testbed, seconds: float) -> Course:
    """Raises if a request is not served."""
    hostile = FakeBridge()
    await hostile.start()
    try:
        with _shared_relay(bed, hostile) as relay:
            connection = bed.connection(relay.listening)
            quiet = await _served(connection, seconds / 2)
            async with _hostile(bed, hostile, relay.listening):
                return Course("one hostile bridge", quiet, await _served(connection, seconds))
    finally:
        await hostile.stop()


async def _served(connection: str, seconds: float) -> list[float]:
    """Sends small requests one after the other, ten on each connection."""
    took: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        async with SealedTransport(connection) as sealed, sealed.async_httpx2_client(timeout=20) as client:
            for _ in range(10):
                began = time.perf_counter()
                (await client.post(_CHAT, json=_BODY)).raise_for_status()
                took.append(time.perf_counter() - began)
                await asyncio.sleep(_PACE)
    return took


@asynccontextmanager
async def _during(work: Any) -> AsyncIterator[None]:
    """Runs `work` during the block. If it fails, the block fails."""
    task = asyncio.create_task(work)
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _greedy(relay: Target) -> Any:
    async def takes_all() -> None:
        while True:
            async with (
                relay.caller as caller,
                peers(relay.address, 4, settings={_INITIAL_WINDOW_SIZE: 0}) as (idle, silent, half, uploads),
            ):
                for _ in range(90):
                    await _send(idle, relay, await caller.seal())
                block = await relay.call()
                await silent.send(*(opening(silent.stream(), block) for _ in range(90)))
                block = await relay.call(path=KEY_DIRECTORY_METHOD)
                await half.send(*(opening(half.stream(), block) for _ in range(90)))
                for _ in range(4):
                    await _send(uploads, relay, await caller.seal(body=bytes(2**21)), but=1)
                await asyncio.sleep(_ROUND)

    return _during(takes_all())


async def _send(one: Peer, relay: Target, request: Any, *, but: int = 0) -> None:
    stream = one.stream()
    await one.send(opening(stream, relay.call_with(request.envelope)))
    for message in request.messages[: len(request.messages) - but]:
        await one.pour(stream, message_start(len(message), message))


@contextmanager
def _shared_relay(bed: Testbed, hostile: FakeBridge) -> Iterator[PartProcess]:
    """A relay whose first replica is the hostile one."""
    pairs = (
        (str(hostile.config.address), format_identity(hostile.identity)),
        (bed.parts["bridge"].listening, bed.identity),
    )
    replicas = "".join(f'[[replica]]\naddress = "{address}"\nidentity = "{pin}"\n' for address, pin in pairs)
    config = bed.folder / "shared.toml"
    config.write_text(f'listen = "127.0.0.1:0"\ntokens = "tokens"\ndrain_seconds = 1\n{replicas}')
    part = PartProcess(
        "shared", "blindrelay.relay_node", lambda: ["serve", "--config", str(config), "--json"]
    )
    part.start()
    try:
        yield part
    finally:
        part.stop()


def _hostile(bed: Testbed, bridge: FakeBridge, relay: str) -> Any:
    """Plays another trick with its directory each second, while its customers' exchanges hang."""

    async def hang(context: Any, _: object) -> None:
        await asyncio.Event().wait()

    async def tricks() -> None:
        bridge.script = hang
        tokens = [issue_token(bed.folder / "tokens", f"theirs-{n}", datetime.now(UTC)) for n in range(4)]
        customers = [Client(relay, token) for token in tokens]
        own, huge = bridge.configs, [os.urandom(7_000) for _ in range(8)]
        async with grpc.aio.insecure_channel(bed.parts["bridge"].listening) as channel:
            fetch: Any = channel.unary_unary(KEY_DIRECTORY_METHOD)
            for number in itertools.count():
                victims = await fetch(b"", timeout=20)
                bridge.configs = huge if number % 5 == 1 else own
                answers = {2: victims, 3: victims * 40, 4: b"\xff"}
                bridge.answer_fetch = answers.get(number % 5)
                calls = [customer.call(bridge.envelope()) for customer in customers for _ in range(30)]
                await bridge.stop()
                await bridge.start()
                await asyncio.sleep(_ROUND / 5)
                for call in calls:
                    call.cancel()

    return _during(tricks())
