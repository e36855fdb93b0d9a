"""Tunnels at the tap of the real relay: the same conversations are held in each shape."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import httpx

from bench.leakage.conversations import SECONDS, Said, conversations, held
from bench.leakage.plan import Plan
from bench.leakage.traces import Recording, Trace, timed, trace_file
from bench.leakage.tunnel_provider import TUNNEL, TunnelProvider, tunnel_bed
from blindrelay.client import SealedTransport
from blindrelay.client.tunnel import SealedTunnel
from blindrelay.sealing import TEXT, close_frame, data_frames
from blindrelay.testbed.errors import TestbedError
from blindrelay.testbed.trace.recording import Passing, Tap, exchange_ids, following, sealed_client, staggered
from blindrelay.testbed.trace.scene import SeenReader

_NORMAL: Final = 1000
_STAGGER_SECONDS: Final = 1.0
"""In which the first tunnels open one after another."""

Planned = tuple[int, int, list[Said]]
"""The number of a tunnel, that of its conversation, and what is said in it."""


def record_tunnels(
    recordings: Sequence[Recording], plan: Plan, seed: int, folder: Path, tell: Callable[[str], None]
) -> None:
    """Holds the conversations in each recording's shape, and adds the traces. Raises TestbedError."""

    async def record_all() -> None:
        with TemporaryDirectory(prefix="blindrelay-tunnels-") as taps:
            tap_file = Path(taps) / "seen.jsonl"
            async with tunnel_bed(tap_file) as (provider, bed), following(SeenReader(tap_file)) as tap:
                for place, recording in enumerate(recordings):
                    planned = _planned(plan, seed, place)
                    tell(f"{recording.shape}: {len(planned)} tunnels")
                    async with sealed_client(bed.relay, recording.shape) as client:
                        holder = _Holder(provider, client, tap)
                        recording.seconds += await timed(holder.hold(planned, plan.tunnels, recording))
                    _write(recording, len(planned), trace_file(folder, recording.shape))

    asyncio.run(record_all())


def _planned(plan: Plan, seed: int, place: int) -> list[Planned]:
    """Every conversation once, in a shuffled order, and again, as often as it is held.

    So none is held more often than others next to itself, when the machine is as busy. `place` is that of the
    shape.
    """
    chance = random.Random(f"tunnels {seed} {place}")
    known = conversations(plan.conversations, seed)
    rounds = [chance.sample(range(len(known)), len(known)) for _ in range(plan.tunnel_draws)]
    order = [each for once in rounds for each in once]
    first = place * len(order)
    return [(number, each, held(known[each], chance)) for number, each in enumerate(order, first)]


def _write(recording: Recording, count: int, path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        for trace in recording.traces[-count:]:
            file.write(json.dumps({"label": trace.label, "trace": trace.rows}) + "\n")


class _Holder:
    """Holds conversations: it speaks for the client and for the provider."""

    def __init__(self, provider: TunnelProvider, client: SealedTransport, tap: Tap) -> None:
        self._provider = provider
        self._client = client
        self._tap = tap

    async def hold(self, planned: Sequence[Planned], parallel: int, recording: Recording) -> None:
        """Holds all of them, `parallel` at once."""
        waiting = iter(planned)
        await staggered([partial(self._work, waiting, recording)] * parallel, _STAGGER_SECONDS)

    async def _work(self, waiting: Iterator[Planned], recording: Recording) -> None:
        for number, conversation, said in waiting:
            trace = await self._conversation(number, said)
            recording.traces.append(Trace({"game": "tunnel", "conversation": conversation}, trace))

    async def _conversation(self, number: int, said: Sequence[Said]) -> list[Passing]:
        """One tunnel, until the relay has seen its end."""
        ids = exchange_ids()
        tunnel = await self._client.open_tunnel(httpx.Request("GET", f"{TUNNEL}{number}"))
        if not isinstance(tunnel, SealedTunnel):
            raise TestbedError(f"tunnel {number} was not opened: {(await tunnel.aread())!r}")
        async with asyncio.TaskGroup() as tasks:
            heard = tasks.create_task(_heard(tunnel))
            await self._speak(tunnel, number, said)
            await tunnel.send(close_frame(_NORMAL))
            await tunnel.end()
        if heard.result() != sum(not message.by_client for message in said):
            raise TestbedError(f"{heard.result()} messages came through tunnel {number}, not all")
        return await self._tap.whole(ids[-1])

    async def _speak(self, tunnel: SealedTunnel, number: int, said: Sequence[Said]) -> None:
        """Says each message at its time, whatever the sleeps before it took, and is quiet until the end."""
        loop, provider = asyncio.get_running_loop(), await self._provider.connection(number)
        began = loop.time()
        for message in said:
            await asyncio.sleep(began + message.at - loop.time())
            if message.by_client:
                for frame in data_frames(TEXT, message.text.encode()):
                    await tunnel.send(frame)
            else:
                await provider.send(message.text)
        await asyncio.sleep(began + SECONDS - loop.time())


async def _heard(tunnel: SealedTunnel) -> int:
    """The number of messages that came until the provider's close."""
    count = -1
    while await tunnel.receive() is not None:
        count += 1
    await tunnel.aclose()
    return count
