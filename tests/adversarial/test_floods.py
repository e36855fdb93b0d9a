"""Floods against a real relay process and a real bridge process, which go on serving in bounded memory.

Each ceiling is the growth of VmHWM in MiB: twice or more of what was measured with grpcio 1.85.1 on a busy
machine, where a server has more in memory before it refuses it (`pytest -rP` shows it again). Without the
limit that holds it, the relay or the bridge grew by

    151 MiB  by 40 messages that claim 4 MiB
    216 MiB  by 400 times 400 KB of metadata, settings not acknowledged
    586 MiB  by 100 answers of 8 MiB that nobody reads

gRPC applies no limit to a peer that has not acknowledged our settings. It cuts such a peer off after five
seconds. Until then each connection can make us hold a header of up to 16 MiB, at about twice its size.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from hyperframe.frame import ContinuationFrame, Frame, HeadersFrame, PingFrame, SettingsFrame

from blindrelay.client import SealedTransport, TimedOutError, UnreachableError
from blindrelay.relay_node.config import MAX_EXCHANGES_PER_TOKEN
from blindrelay.serving import CLIENT_IDLE_SECONDS, STREAMS_PER_CLIENT, authorization, issue_token
from blindrelay.serving.health import MAX_WATCHES
from blindrelay.testbed import Testbed
from blindrelay.v1.grpc_profile import EXCHANGE_METHOD, KEY_DIRECTORY_METHOD
from blindrelay.v1.limits import MAX_MESSAGE_SIZE
from tests.adversarial.h2_peer import (
    Peer,
    header_block,
    hello,
    message_start,
    opening,
    opening_in_pieces,
    peers,
    reset_rapidly,
    start_messages,
)
from tests.adversarial.service import HELD_SECONDS, MIB, SERVED_SECONDS, URL, held, let_in, newcomer
from tests.adversarial.target import Target
from tests.patience import until

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read in /proc"),
    pytest.mark.timeout(HELD_SECONDS),
]

UNAUTHENTICATED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, DEADLINE, INVALID = "16", "8", "12", "4", "3"
INITIAL_WINDOW_SIZE: Final = 4
MANY_CONNECTIONS: Final = 1_100
PATIENT: Final = {"drain_seconds": 3_600}


@pytest.fixture
def bed() -> Iterator[Testbed]:
    """One for each test: memory that an earlier flood took would hide the next one's.

    Its parts drain for as long as an exchange counts as running. None does when the attackers have gone.
    """
    with Testbed("scripted", relay_options=PATIENT, bridge_options=PATIENT) as bed:
        yield bed
        for part in ("relay", "bridge"):
            bed.stop(part)
            assert bed.parts[part].exit_code == 0, f"the {part} has not drained, and was killed"


@pytest.fixture
def targets(bed: Testbed) -> list[Target]:
    """The attacker has a token of its own; what it may not have, its neighbours have."""
    token = issue_token(bed.folder / "tokens", "attacker", datetime.now(UTC))
    return [Target(bed, "relay", token), Target(bed, "bridge", token)]


@pytest.fixture
def relay(targets: list[Target]) -> Target:
    return targets[0]


async def refused(attackers: list[Peer], count: int) -> None:
    """Waits until so many of their calls have been refused for want of room. No more are."""

    def seen() -> int:
        return sum(one.statuses[RESOURCE_EXHAUSTED] for one in attackers)

    await until(lambda: seen() >= count)
    assert seen() == count


@pytest.mark.parametrize("path", [EXCHANGE_METHOD, KEY_DIRECTORY_METHOD], ids=["exchange", "directory"])
async def test_half_sent_messages(targets: list[Target], path: str) -> None:
    for target in targets:
        block = await target.call(path=path)
        async with held(target, 100), peers(target.address, 4) as attackers:
            for one in attackers:
                await start_messages(one, block, STREAMS_PER_CLIENT, MAX_MESSAGE_SIZE, MAX_MESSAGE_SIZE // 2)
            await newcomer(target.bed)
            for one in attackers:
                assert set(one.statuses) <= {RESOURCE_EXHAUSTED, DEADLINE}, "no room, or no rest for long"


async def test_messages_that_claim_too_much(targets: list[Target]) -> None:
    for target in targets:
        block = await target.call()
        async with held(target, 30), peers(target.address, 1) as (one,):
            await start_messages(one, block, 40, 4 * MIB, MAX_MESSAGE_SIZE // 4)
            await one.ended(40)
            assert one.statuses == {RESOURCE_EXHAUSTED: 40}


@pytest.mark.parametrize("method", ["Check", "Watch"])
async def test_half_sent_health_requests(targets: list[Target], method: str) -> None:
    """Without a token. A slow server may have all of the 64 MB before it refuses the first."""
    block = header_block(path=f"/grpc.health.v1.Health/{method}")
    for target in targets:
        async with held(target, 160), peers(target.address, 10) as attackers:
            for one in attackers:
                await start_messages(one, block, STREAMS_PER_CLIENT, MAX_MESSAGE_SIZE, MAX_MESSAGE_SIZE // 2)
            await newcomer(target.bed)
            for one in attackers:
                await one.ended(STREAMS_PER_CLIENT)
                assert one.statuses.total() == STREAMS_PER_CLIENT
                assert set(one.statuses) <= {RESOURCE_EXHAUSTED, DEADLINE}


async def test_watches_that_would_last_for_ever(targets: list[Target]) -> None:
    """Without a token."""
    block = header_block(path="/grpc.health.v1.Health/Watch")
    for target in targets:
        async with held(target, 40), peers(target.address, 10) as attackers:
            for one in attackers:
                await start_messages(one, block, STREAMS_PER_CLIENT, 0, 0)
            await refused(attackers, 10 * STREAMS_PER_CLIENT - MAX_WATCHES // 2)


async def test_giant_metadata_before_settings_are_acknowledged(targets: list[Target]) -> None:
    """What is refused at once is not held for the time of a first message: not all 160 MB come together."""
    for target in targets:
        block = await target.call(("x", "y" * 400_000))
        refusals = 0
        async with held(target, 120), contextlib.AsyncExitStack() as stack:
            for _ in range(40):
                (one,) = await stack.enter_async_context(peers(target.address, 1, polite=False))
                for _ in range(10):
                    await one.send(*opening_in_pieces(one.stream(), block))
                await one.ended(10)
                assert one.statuses.total() == 10 or one.closed.is_set()
                assert set(one.statuses) <= {INVALID, RESOURCE_EXHAUSTED}
                refusals += one.statuses.total()
            await one.closed.wait()
        assert refusals, "each connection was closed before anything was refused"


@pytest.mark.parametrize(
    ("polite", "ceiling"), [(True, 30), (False, 60)], ids=["acknowledged", "unacknowledged"]
)
async def test_headers_without_end(targets: list[Target], *, polite: bool, ceiling: int) -> None:
    """10 MB; what has not acknowledged our limits is held until it is cut off, at twice what it sent."""
    endless = header_block([("x", "y" * 10_000_000)])
    for target in targets:
        async with held(target, ceiling), peers(target.address, 1, polite=polite) as (one,):
            if polite:
                await one.answered()
            await one.send(*opening_in_pieces(one.stream(), endless)[:-1])
            await newcomer(target.bed)


async def test_empty_continuation_frames(targets: list[Target]) -> None:
    for target in targets:
        async with held(target, 20), peers(target.address, 1) as (one,):
            stream = one.stream()
            await one.send(HeadersFrame(stream, header_block()))
            await one.send(*(ContinuationFrame(stream, b"") for _ in range(10_000)))
            await one.closed.wait()


async def test_rapid_reset(targets: list[Target]) -> None:
    for target in targets:
        block = await target.call()
        async with held(target, 120), peers(target.address, 1) as (one,):
            await reset_rapidly(one, block, 20_000)
            await one.answered()


@pytest.mark.parametrize("frame", [SettingsFrame(0), PingFrame(0, b"question")], ids=["settings", "pings"])
async def test_frames_that_want_an_answer(targets: list[Target], frame: Frame) -> None:
    for target in targets:
        async with held(target, 20), peers(target.address, 1) as (one,):
            await one.send(*([frame] * 20_000))
            await (one.closed.wait() if isinstance(frame, PingFrame) else one.answered())


async def test_calls_that_say_nothing(targets: list[Target]) -> None:
    """Each is held for as long as a slow line may take, and costs little."""
    async with contextlib.AsyncExitStack() as stack:
        attackers: list[Peer] = []
        for target in targets:
            await stack.enter_async_context(held(target, 40))
            attackers += await stack.enter_async_context(peers(target.address, 4))
            block = await target.call()
            for one in attackers[-4:]:
                await one.send(*(opening(one.stream(), block) for _ in range(STREAMS_PER_CLIENT)))
            await attackers[-1].answered()
        await newcomer(targets[0].bed)
        for one in attackers:
            assert set(one.statuses) <= {RESOURCE_EXHAUSTED}


async def test_answers_that_nobody_reads(targets: list[Target]) -> None:
    relay, bridge = targets
    question = b'{"model": "m", "messages": [], "stream": true, "scripted": {"answer_bytes": 8388608}}'
    async with relay.caller as caller:
        requests = [await caller.seal(body=question) for _ in range(STREAMS_PER_CLIENT)]
    no_window = peers(relay.address, 1, settings={INITIAL_WINDOW_SIZE: 0})
    async with held(relay, 60), held(bridge, 100), no_window as (one,):
        await relay.present([one], requests)
        await one.until(lambda: one.frames["HeadersFrame"] >= STREAMS_PER_CLIENT)
        grown = -1
        while grown != (grown := bridge.peak()):
            await newcomer(relay.bed)
        assert not one.statuses, "all of them have begun, and none has ended"


async def test_small_answers_that_nobody_takes(relay: Target) -> None:
    """Five hundred, on five connections: most are refused at once, and the rest leave room for everybody."""
    async with relay.caller as caller:
        requests = [await caller.seal() for _ in range(5 * STREAMS_PER_CLIENT)]
    no_window = peers(relay.address, 5, settings={INITIAL_WINDOW_SIZE: 0})
    async with held(relay, 60), no_window as attackers:
        await relay.present(attackers, requests)
        await refused(attackers, len(requests) - MAX_EXCHANGES_PER_TOKEN)
        await newcomer(relay.bed)


async def test_requests_that_are_never_whole() -> None:
    """They would fill the bridge's buffer; the relay keeps a token to its share."""
    of_bridge = {"max_request_bytes": 4 * MIB, "max_buffered_bytes": 24 * MIB}
    of_relay = {"max_request_bytes": 16 * MIB}
    with Testbed("scripted", relay_options=of_relay, bridge_options=of_bridge) as bed:
        relay = Target(bed, "relay", issue_token(bed.folder / "tokens", "attacker", datetime.now(UTC)))
        async with relay.caller as caller:
            requests = [await caller.seal(body=bytes(3 * MIB)) for _ in range(12)]
        async with peers(relay.address, 1) as (one,):
            await relay.present([one], requests, whole=False)
            await one.until(lambda: one.statuses[RESOURCE_EXHAUSTED] >= 10)
            transport = SealedTransport(bed.relay)
            async with transport.async_httpx2_client(timeout=SERVED_SECONDS) as client:
                body = {"model": "m", "messages": [{"role": "user", "content": "x" * 2 * MIB}]}
                assert (await client.post(URL, json=body)).status_code == 200


async def test_compressed_messages(targets: list[Target]) -> None:
    bomb = gzip.compress(bytes(100 * MIB))
    assert len(bomb) < MAX_MESSAGE_SIZE
    for target in targets:
        block = await target.call(("grpc-encoding", "gzip"))
        async with held(target, 30), peers(target.address, 1) as (one,):
            for _ in range(50):
                stream = one.stream()
                await one.send(opening(stream, block))
                await one.pour(stream, message_start(len(bomb), bomb, compressed=True))
            await one.ended(50)
            assert one.statuses == {UNIMPLEMENTED: 50}


async def test_wrong_tokens(relay: Target) -> None:
    block = header_block([authorization("brt_" + "x" * 43)])
    # Half the streams: the server may still count those whose end has only just arrived here.
    at_once = STREAMS_PER_CLIENT // 2
    async with held(relay, 30), peers(relay.address, 1) as (one,):
        for called in range(at_once, 10_001, at_once):
            await one.send(*(opening(one.stream(), block) for _ in range(at_once)))
            await one.ended(called)
        assert one.statuses == {UNAUTHENTICATED: 10_000}


async def test_connections_that_say_nothing(relay: Target) -> None:
    """More than are taken. Customers stay; newcomers wait until the silence has been long enough."""
    host, _, port = relay.address.rpartition(":")
    async with held(relay, 60), contextlib.AsyncExitStack() as stack:
        for _ in range(MANY_CONNECTIONS):
            _, writer = await asyncio.open_connection(host, int(port))
            stack.callback(writer.close)
        await let_in(relay.bed)


async def test_connections_that_say_hello_and_nothing_else(relay: Target) -> None:
    """As above, after the handshake: they are idle."""
    async with held(relay, 60), contextlib.AsyncExitStack() as stack:
        for _ in range(MANY_CONNECTIONS):
            stack.callback((await hello(relay.address)).close)
        with pytest.raises((UnreachableError, TimedOutError)):
            await newcomer(relay.bed, seconds=CLIENT_IDLE_SECONDS / 10)
        await let_in(relay.bed)
