"""A steady mix of exchanges, what it leaves behind in each process, and what it may leave."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import linear_regression, median
from typing import Any, Final

import httpx

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed

BYTES_EACH: Final = 512
"""Of an exchange, over thousands of them. A bridge keeps its claim of some 150 bytes for five minutes. The
leak of one message would be four kilobytes."""

SHORT_RUN: Final = 2_048
"""Bytes of an exchange, over three thousand of them. The allocators are still growing then."""

DESCRIPTORS: Final = 12
"""Connections to the provider come and go. A leak of one in each exchange would be hundreds."""

THREADS: Final = 4

_CHAT: Final = "https://api.openai.com/v1/chat/completions"
_AT_ONCE: Final = 8
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sample:
    """A process at one moment."""

    exchanges: int
    resident: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int, exchanges: int) -> Sample:
        process = Path("/proc", str(pid))
        resident = int((process / "statm").read_text().split()[1]) * _PAGE
        descriptors, threads = (len(list((process / folder).iterdir())) for folder in ("fd", "task"))
        return cls(exchanges, resident, descriptors, threads)


@dataclass(frozen=True)
class Growth:
    """What a process keeps of its exchanges.

    Attributes:
        bytes_each: resident bytes for each exchange, by linear regression over the samples.
        resident: bytes, in the middle of the last third.
        descriptors, threads: how many more than in the middle of the first third.
    """

    bytes_each: float
    resident: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, samples: list[Sample]) -> Growth:
        third = max(1, len(samples) // 3)

        def middle(what: str, of: list[Sample]) -> int:
            return int(median(getattr(each, what) for each in of))

        def more(what: str) -> int:
            return middle(what, samples[-third:]) - middle(what, samples[:third])

        resident = [each.resident for each in samples]
        slope = linear_regression([each.exchanges for each in samples], resident).slope
        return cls(slope, middle("resident", samples[-third:]), more("descriptors"), more("threads"))

    def complaints(self, bytes_each: int) -> Iterator[str]:
        if self.bytes_each > bytes_each:
            yield f"{self.bytes_each:,.0f} bytes of each exchange"
        if self.descriptors > DESCRIPTORS:
            yield f"{self.descriptors} descriptors"
        if self.threads > THREADS:
            yield f"{self.threads} threads"


def complaints(growth: Mapping[str, Growth], bytes_each: int = BYTES_EACH) -> list[str]:
    """A sentence for each thing that grew too much."""
    return [f"{name} keeps {wrong}" for name, each in growth.items() for wrong in each.complaints(bytes_each)]


class Soak:
    """Exchanges through a testbed, sampled.

    Attributes:
        exchanges: how many there were.
    """

    def __init__(self, bed: Testbed) -> None:
        self.exchanges = 0
        self._bed = bed
        parts = {name: pid for name, pid in bed.pids.items() if name != "provider"}
        self._pids = {**parts, "client": os.getpid()}
        self._samples: dict[str, list[Sample]] = {name: [] for name in self._pids}

    async def run(
        self, warm_up: int, rounds: int, each: int, until: float | None = None
    ) -> dict[str, Growth]:
        """Warms up, then runs rounds of `each` exchanges, and none after `until` (monotonic time)."""
        relay = f"{self._bed.relay}&shape=off"  # cells would still be under way when memory is looked at
        async with SealedTransport(relay) as sealed, sealed.async_httpx_client() as client:
            await self._exchanges(client, warm_up)
            for _round in range(rounds):
                await self._exchanges(client, each)
                for name, pid in self._pids.items():
                    self._samples[name].append(Sample.of(pid, self.exchanges))
                if until is not None and time.monotonic() > until:
                    break
        return {name: Growth.of(samples) for name, samples in self._samples.items()}

    async def _exchanges(self, client: httpx.AsyncClient, count: int) -> None:
        numbers = iter(range(self.exchanges, self.exchanges + count))

        async def worker() -> None:
            for number in numbers:
                await _KINDS[number % len(_KINDS)](client)

        await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))
        self.exchanges += count


def _body(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "What is the capital of France?"}], **more}


async def _posted(client: httpx.AsyncClient, status: int = 200, **more: Any) -> None:
    assert (await client.post(_CHAT, json=_body(**more))).status_code == status


async def _streamed(client: httpx.AsyncClient, pieces: int = 1_000) -> None:
    async with client.stream("POST", _CHAT, json=_body(stream=True)) as answer:
        async for _piece in answer.aiter_raw():
            pieces -= 1
            if not pieces:
                break


async def _stopped(client: httpx.AsyncClient) -> None:
    call = asyncio.create_task(_streamed(client))
    await asyncio.wait([call], timeout=random.uniform(0, 0.02))
    call.cancel()
    await asyncio.wait([call])


async def _refused_by_the_bridge(client: httpx.AsyncClient) -> None:
    assert (await client.get("https://api.openai.com/v1/files")).status_code == 403


_LEFT: Final = partial(_streamed, pieces=1)
_REFUSED_BY_THE_PROVIDER: Final = partial(_posted, status=429, scripted={"status": 429})
_LARGE: Final = partial(_posted, user="x" * 300_000)
_KINDS: Final[tuple[Callable[[httpx.AsyncClient], Awaitable[None]], ...]] = (
    *(_posted, _streamed, _posted, _LEFT, _stopped),
    *(_refused_by_the_bridge, _streamed, _REFUSED_BY_THE_PROVIDER, _posted, _LARGE),
)
