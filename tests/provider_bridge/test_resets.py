"""Calls that are reset leave nothing behind but their claims."""

from __future__ import annotations

import base64
from typing import Final

from blindrelay.serving import STREAMS_PER_CLIENT
from blindrelay.v1.envelope import METADATA_KEY
from tests.adversarial.h2_peer import (
    Peer,
    header_block,
    message_start,
    opening,
    peers,
    reset,
    reset_rapidly,
)
from tests.patience import until
from tests.remains import kept, left_since

from .sealed_caller import SealedCaller

CALLS: Final = 2_000
THREE_RECORDS: Final = bytes(190_000)


def block(envelope: bytes) -> bytes:
    return header_block([(METADATA_KEY, base64.b64encode(envelope).decode())])


async def reset_before_a_message(peer: Peer, bridge: SealedCaller, calls: int) -> None:
    """Calls that are reset when the bridge has admitted them."""
    streams = [peer.stream() for _ in range(calls)]
    for stream in streams:
        await peer.send(opening(stream, block((await bridge.seal()).envelope)))
    await until(lambda: bridge.served.admission.running == calls)
    await peer.send(*map(reset, streams))


async def reset_half_sent(peer: Peer, bridge: SealedCaller, calls: int) -> None:
    """Exchanges that are reset when the bridge has claimed each, and waits for the rest of its body."""
    streams = [peer.stream() for _ in range(calls)]
    for stream in streams:
        request = await bridge.seal(body=THREE_RECORDS)
        await peer.send(opening(stream, block(request.envelope)))
        for message in request.messages[:-1]:
            await peer.pour(stream, message_start(len(message), message))
    await until(lambda: len(bridge.served._runtime.running) == calls)
    await peer.send(*map(reset, streams))


async def flood(bridge: SealedCaller, calls: int) -> None:
    """Calls of one peer, of which some are reset later than at once."""
    for some in (reset_before_a_message, reset_half_sent):
        async with peers(bridge.address, 1) as (peer,):
            await some(peer, bridge, 20)
    async with peers(bridge.address, 1) as (peer,):
        await reset_rapidly(peer, block((await bridge.seal()).envelope), calls)
        await peer.answered()


def counted(bridge: SealedCaller) -> int:
    """What counts as running or as held, together."""
    served = bridge.served
    runtime = served._runtime
    held: int = runtime.budget.held + served._service._exchanges.held
    return held + len(runtime.running) + int(served.admission.running)


async def test_calls_that_are_reset_leave_nothing_behind(bridge: SealedCaller) -> None:
    await flood(bridge, STREAMS_PER_CLIENT)
    await until(lambda: not counted(bridge))
    before = kept()
    await flood(bridge, CALLS)
    await until(lambda: not counted(bridge))
    await until(lambda: not left_since(before))
    assert (await bridge.exchange()).status == 200
