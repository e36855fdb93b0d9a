"""Floods against a real Envoy with its control process, which go on serving in bounded memory.

Each ceiling is the growth of VmHWM in MiB of the two together. What a hostile relay does to an exchange is in
test_attacks.py: it is the attacker then, whatever carries its bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from hyperframe.frame import ContinuationFrame, Frame, HeadersFrame, PingFrame, SettingsFrame

from blindrelay.serving import STREAMS_PER_CLIENT, issue_token
from blindrelay.testbed import Testbed
from blindrelay.testbed.evidence.traces import children_of
from blindrelay.testbed.topology import BY_ENVOY
from blindrelay.v1.limits import MAX_MESSAGE_SIZE
from tests.adversarial.h2_peer import header_block, opening_in_pieces, peers, reset_rapidly, start_messages
from tests.adversarial.service import HELD_SECONDS, held, newcomer
from tests.adversarial.target import Target

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read in /proc"),
    pytest.mark.timeout(HELD_SECONDS),
]

SILENT_CONNECTIONS: Final = 300


class EnvoyTarget(Target):
    """Envoy and its control process."""

    @property
    def pids(self) -> list[int]:
        control = self.bed.pids[self.part]
        return [control, *children_of(control)]


@pytest.fixture
def relay() -> Iterator[Target]:
    with Testbed("scripted", relay_start=BY_ENVOY) as bed:
        token = issue_token(bed.folder / "tokens", "attacker", datetime.now(UTC))
        yield EnvoyTarget(bed, "relay", token)


async def test_half_sent_messages(relay: Target) -> None:
    block = await relay.call()
    async with held(relay, 80), peers(relay.address, 4) as attackers:
        for one in attackers:
            await start_messages(one, block, STREAMS_PER_CLIENT, MAX_MESSAGE_SIZE, MAX_MESSAGE_SIZE // 2)
        await newcomer(relay.bed)


async def test_half_sent_health_requests(relay: Target) -> None:
    """Without a token. They keep the health service busy, and no exchange waits for that."""
    block = header_block(path="/grpc.health.v1.Health/Check")
    async with held(relay, 80), peers(relay.address, 10) as attackers:
        for one in attackers:
            await start_messages(one, block, STREAMS_PER_CLIENT, MAX_MESSAGE_SIZE, MAX_MESSAGE_SIZE // 2)
        for _ in range(5):
            await newcomer(relay.bed)


@pytest.mark.parametrize("polite", [True, False], ids=["acknowledged", "unacknowledged"])
async def test_headers_without_end(relay: Target, *, polite: bool) -> None:
    endless = header_block([("x", "y" * 10_000_000)])
    async with held(relay, 30), peers(relay.address, 1, polite=polite) as (one,):
        await one.send(*opening_in_pieces(one.stream(), endless)[:-1])
        await newcomer(relay.bed)


async def test_empty_continuation_frames(relay: Target) -> None:
    async with held(relay, 20), peers(relay.address, 1) as (one,):
        stream = one.stream()
        await one.send(HeadersFrame(stream, header_block()))
        await one.send(*(ContinuationFrame(stream, b"") for _ in range(10_000)))
        await one.closed.wait()


async def test_rapid_reset(relay: Target) -> None:
    block = await relay.call()
    async with held(relay, 80), peers(relay.address, 1) as (one,):
        await reset_rapidly(one, block, 20_000)
        await newcomer(relay.bed)


@pytest.mark.parametrize("frame", [SettingsFrame(0), PingFrame(0, b"question")], ids=["settings", "pings"])
async def test_frames_that_want_an_answer(relay: Target, frame: Frame) -> None:
    async with held(relay, 20), peers(relay.address, 1) as (one,):
        await one.send(*([frame] * 20_000))
        await newcomer(relay.bed)


async def test_connections_that_say_nothing(relay: Target) -> None:
    host, _, port = relay.address.rpartition(":")
    async with held(relay, 60), contextlib.AsyncExitStack() as stack:
        for _ in range(SILENT_CONNECTIONS):
            _, writer = await asyncio.open_connection(host, int(port))
            stack.callback(writer.close)
        await newcomer(relay.bed)
