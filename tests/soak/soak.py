"""A steady mix of exchanges, and what it leaves behind in each process."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression, median
from typing import Any, Final

import httpx

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed

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
        return cls(
            exchanges,
            int((process / "statm").read_text().split()[1]) * _PAGE,
            len(list((process / "fd").iterdir())),
            len(list((process / "task").iterdir())),
        )


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


class Soak:
    """Exchanges through a testbed, sampled."""

    def __init__(self, bed: Testbed) -> None:
        self._bed = bed
        self._done = 0
        self._pids = {name: pid for name, pid in bed.pids.items() if name != "provider"} | {
            "client": os.getpid()
        }
        self._samples: dict[str, list[Sample]] = {name: [] for name in self._pids}

    async def run(
        self, warm_up: int, rounds: int, each: int, until: float | None = None
    ) -> dict[str, Growth]:
        """Warms up, then runs rounds of `each` exchanges, and none after `until` (monotonic time)."""
        async with SealedTransport(self._bed.relay) as sealed, sealed.async_httpx_client() as client:
            await self._exchanges(client, warm_up)
            for _round in range(rounds):
                await self._exchanges(client, each)
                for name, pid in self._pids.items():
                    self._samples[name].append(Sample.of(pid, self._done))
                if until is not None and time.monotonic() > until:
                    break
        return {name: growth_of(samples) for name, samples in self._samples.items()}

    @property
    def exchanges(self) -> int:
        """How many there were."""
        return self._done

    async def _exchanges(self, client: httpx.AsyncClient, count: int) -> None:
        numbers = iter(range(self._done, self._done + count))

        async def worker() -> None:
            for number in numbers:
                await _KINDS[number % len(_KINDS)](client)

        await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))
        self._done += count


def growth_of(samples: list[Sample]) -> Growth:
    """What a process keeps, from its samples over time."""
    third = max(1, len(samples) // 3)
    first, last = samples[:third], samples[-third:]

    def more(of: Callable[[Sample], int]) -> int:
        return int(median(map(of, last)) - median(map(of, first)))

    slope = linear_regression([each.exchanges for each in samples], [each.resident for each in samples]).slope
    return Growth(
        slope,
        int(median(each.resident for each in last)),
        more(lambda each: each.descriptors),
        more(lambda each: each.threads),
    )


def _body(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "What is the capital of France?"}], **more}


async def _whole(client: httpx.AsyncClient) -> None:
    (await client.post(_CHAT, json=_body())).raise_for_status()


async def _streamed(client: httpx.AsyncClient) -> None:
    async with client.stream("POST", _CHAT, json=_body(stream=True)) as answer:
        async for _piece in answer.aiter_raw():
            pass


async def _left(client: httpx.AsyncClient) -> None:
    async with client.stream("POST", _CHAT, json=_body(stream=True)) as answer:
        async for _piece in answer.aiter_raw():
            break


async def _stopped(client: httpx.AsyncClient) -> None:
    call = asyncio.create_task(_streamed(client))
    await asyncio.wait([call], timeout=random.uniform(0, 0.02))
    call.cancel()
    await asyncio.wait([call])


async def _large(client: httpx.AsyncClient) -> None:
    (await client.post(_CHAT, json=_body(user="x" * 300_000))).raise_for_status()


async def _refused_by_the_bridge(client: httpx.AsyncClient) -> None:
    assert (await client.get("https://api.openai.com/v1/files")).status_code == 403


async def _refused_by_the_provider(client: httpx.AsyncClient) -> None:
    assert (await client.post(_CHAT, json=_body(scripted={"status": 429}))).status_code == 429


_KINDS: Final[tuple[Callable[[httpx.AsyncClient], Awaitable[None]], ...]] = (
    _whole,
    _streamed,
    _whole,
    _left,
    _stopped,
    _refused_by_the_bridge,
    _streamed,
    _refused_by_the_provider,
    _whole,
    _large,
)
