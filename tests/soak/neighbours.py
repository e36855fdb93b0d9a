"""How long small requests of others take beside a greedy token, a hostile bridge or a greedy relay."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import grpc

from blindrelay.client import SealedTransport
from blindrelay.serving import authorization, issue_token
from blindrelay.testbed import Testbed
from blindrelay.testbed.configuration import official_providers, write_bridge_config
from blindrelay.testbed.processes import PartProcess
from blindrelay.trust import parse_identity
from blindrelay.v1.grpc_profile import KEY_DIRECTORY_METHOD
from blindrelay.v1.identity_text import format_identity
from tests.adversarial.h2_peer import opening, peers
from tests.adversarial.target import Target
from tests.provider_bridge.sealed_caller import Call, SealedCaller
from tests.relay_node.fake_bridge import FakeBridge
from tests.relay_node.raw_client import Client

Attack = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
"""It sets the event when it has begun, and goes on until it is cancelled."""

_CHAT: Final = "https://api.openai.com/v1/chat/completions"
_BODY: Final = {"model": "m", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
_WORSE: Final = 3
"""How many times the quiet 99th percentile is allowed."""

_PACE: Final = 0.05
_ROUND: Final = 5.0
_INITIAL_WINDOW_SIZE: Final = 4

_LARGE: Final = 1_048_576
_TWO_RECORDS: Final = 70_000
"""Bytes, so that a request can stay unfinished."""


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
    """At a relay."""
    relay = Target(bed, "relay", _another_token(bed, "greedy"))

    async def attack(begun: asyncio.Event) -> None:
        while True:
            async with (
                relay.caller as caller,
                peers(relay.address, 4, settings={_INITIAL_WINDOW_SIZE: 0}) as (idle, silent, half, uploads),
            ):
                await relay.present([idle], [await caller.seal() for _ in range(90)])
                for peer, block in (
                    (silent, await relay.call()),
                    (half, await relay.call(path=KEY_DIRECTORY_METHOD)),
                ):
                    await peer.send(*(opening(peer.stream(), block) for _ in range(90)))
                large = [await caller.seal(body=bytes(2**21)) for _ in range(4)]
                await relay.present([uploads], large, whole=False)
                begun.set()
                await asyncio.sleep(_ROUND)

    return await _course("one greedy token", bed.relay, seconds, attack)


async def beside_a_hostile_bridge(bed: Testbed, seconds: float) -> Course:
    """At a relay whose first replica plays tricks with its directory, and lets exchanges hang."""
    bridge = FakeBridge()
    await bridge.start()
    pairs = (
        (str(bridge.config.address), format_identity(bridge.identity)),
        (bed.parts["bridge"].listening, bed.identity),
    )
    replicas = "".join(f'[[replica]]\naddress = "{address}"\nidentity = "{pin}"\n' for address, pin in pairs)
    config = bed.folder / "shared.toml"
    config.write_text(f'listen = "127.0.0.1:0"\ntokens = "tokens"\ndrain_seconds = 1\n{replicas}')

    async def hang(context: Any, _: object) -> None:
        await asyncio.Event().wait()

    async def attack(begun: asyncio.Event) -> None:
        bridge.script = hang
        tokens = [_another_token(bed, f"theirs-{number}") for number in range(4)]
        customers = [Client(relay.listening, token) for token in tokens]
        own, huge = bridge.configs, [os.urandom(7_000) for _ in range(8)]
        async with grpc.aio.insecure_channel(bed.parts["bridge"].listening) as channel:
            fetch: Any = channel.unary_unary(KEY_DIRECTORY_METHOD)
            for number in itertools.count():
                victims = await fetch(b"", timeout=60)
                bridge.configs = huge if number % 5 == 1 else own
                bridge.answer_fetch = {2: victims, 3: victims * 40, 4: b"\xff"}.get(number % 5)
                calls = [customer.call(bridge.envelope()) for customer in customers for _ in range(30)]
                await bridge.restart()
                begun.set()
                await asyncio.sleep(_ROUND / 5)
                for call in calls:
                    call.cancel()

    try:
        with _serving("blindrelay.relay_node", config) as relay:
            return await _course("one hostile bridge", bed.connection(relay.listening), seconds, attack)
    finally:
        await bridge.stop()


async def beside_a_greedy_relay(bed: Testbed, seconds: float) -> Course:
    """At a bridge that two relays use, with a bridge's default limits, scaled down."""
    options = {"max_exchanges": 200, "max_request_bytes": _LARGE, "max_buffered_bytes": 8 * _LARGE}
    config = bed.folder / "shared-bridge.toml"
    providers = official_providers(bed.provider)
    write_bridge_config(config, "127.0.0.1:0", providers, {"tokens": "tokens", **options})
    token = authorization(_another_token(bed, "greedy-relay"))
    with _serving("blindrelay.provider_bridge", config) as bridge:

        async def attack(begun: asyncio.Event) -> None:
            async with SealedCaller(bridge.listening, parse_identity(bed.identity), (token,)) as caller:
                await _take_all_exchanges(caller, begun)

        return await _course("one greedy relay", bed.connection(bridge.listening), seconds, attack)


def _another_token(bed: Testbed, name: str) -> str:
    return issue_token(bed.folder / "tokens", name, datetime.now(UTC))


@contextmanager
def _serving(module: str, config: Path) -> Iterator[PartProcess]:
    part = PartProcess("shared", module, lambda: ["serve", "--config", str(config), "--json"])
    part.start()
    try:
        yield part
    finally:
        part.stop()


async def _course(name: str, connection: str, seconds: float, attack: Attack) -> Course:
    """Raises if the attack or a request fails."""
    quiet = await _served(connection, seconds / 2)
    begun = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        attacking = group.create_task(attack(begun))
        await begun.wait()
        beside = await _served(connection, seconds)
        attacking.cancel()
    return Course(name, quiet, beside)


async def _served(connection: str, seconds: float) -> list[float]:
    """Sends small requests one after the other, ten on each connection."""
    took: list[float] = []
    until = time.monotonic() + seconds
    while not took or time.monotonic() < until:
        async with SealedTransport(connection) as sealed, sealed.async_httpx2_client(timeout=60) as client:
            for _ in range(10):
                began = time.perf_counter()
                (await client.post(_CHAT, json=_BODY)).raise_for_status()
                took.append(time.perf_counter() - began)
                await asyncio.sleep(_PACE)
    return took


async def _take_all_exchanges(caller: SealedCaller, begun: asyncio.Event) -> None:
    """Holds what the bridge gives, and takes every place that becomes free. Sometimes it cancels a call."""
    held: list[Call] = []

    async def hold(size: int) -> None:
        """Sends a request without its last record, if it has more than one."""
        request = await caller.seal(body=b'{"user":"' + b"a" * size + b'"}')
        call = caller.start(request)
        held.append(call)
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for message in request.messages[:-1] or request.messages:
                await call.write(message)

    for _ in range(16):
        await hold(_LARGE - 11)
    while not [call for call in held if call.done() and await call.code() is _OVERLOADED]:
        await hold(_TWO_RECORDS)
    begun.set()
    while True:
        await asyncio.sleep(_PACE / 2)
        await hold(random.choice((_TWO_RECORDS, 0)))
        held = [call for call in held if not call.done()]
        if held and random.random() < 0.1:
            held.pop(random.randrange(len(held))).cancel()


_OVERLOADED: Final = grpc.StatusCode.RESOURCE_EXHAUSTED
NEIGHBOURS: Final = (beside_a_greedy_token, beside_a_hostile_bridge, beside_a_greedy_relay)
