"""How load is offered: closed (so many at a time), open (so many a second), or held (so many that wait)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from bench.latencies import Latencies
from bench.ways import RefusedError, Way
from bench.work import Work


@dataclass
class Tally:
    """The outcome of one run's exchanges.

    `latency` is from the intended start to the end, `first` to the first piece of the response, `gap` between
    pieces. In a closed loop the intended start is the actual one. In an open loop it is when the exchange was
    due: waiting in the generator counts too (no coordinated omission).
    """

    latency: Latencies = field(default_factory=Latencies)
    first: Latencies = field(default_factory=Latencies)
    gap: Latencies = field(default_factory=Latencies)
    exchanges: int = 0
    pieces: int = 0
    sent: int = 0
    received: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    refusal: Latencies = field(default_factory=Latencies)

    def as_dict(self, seconds: float) -> dict[str, Any]:
        """Everything, with `seconds` being the length of the run."""
        return {
            "seconds": seconds,
            "exchanges": self.exchanges,
            "exchanges_per_second": self.exchanges / seconds,
            "pieces": self.pieces,
            "content": {"sent": self.sent, "received": self.received},
            "errors": dict(self.errors),
            "latency_ms": self.latency.summary(),
            "first_ms": self.first.summary(),
            "gap_ms": self.gap.summary(),
            "refusal_ms": self.refusal.summary(),
        }


class Loop:
    """One run of one kind of work by one way; `body` is sent instead of the work's own, if there is one."""

    def __init__(
        self, way: Way, work: Work, body: bytes | None = None, clock: Callable[[], float] = perf_counter
    ) -> None:
        self._way = way
        self._work = work
        self._body = work.body() if body is None else body
        self._clock = clock
        self.tally = Tally()

    async def closed(self, concurrency: int, seconds: float, at_most: int | None = None) -> dict[str, Any]:
        """Keeps `concurrency` exchanges going, until `seconds` have passed or `at_most` have begun.

        At least `concurrency` begin, however long that takes: so many are at once, or the figure would lie.
        """
        began = self._clock()
        left = iter(range(at_most)) if at_most is not None else iter(int, 1)

        async def one_after_another() -> None:
            while next(left, None) is not None:
                await self._exchange(self._clock())
                if self._clock() - began >= seconds:
                    break

        await asyncio.gather(*(one_after_another() for _ in range(concurrency)))
        return self.tally.as_dict(self._clock() - began)

    async def open(self, rate: float, seconds: float) -> dict[str, Any]:
        """Begins `rate` exchanges a second, evenly, however many are still running."""
        began = self._clock()
        running = []
        for number in range(round(rate * seconds)):
            due = began + number / rate
            if (wait := due - self._clock()) > 0:
                await asyncio.sleep(wait)
            running.append(asyncio.create_task(self._exchange(due)))
        offered = self._clock() - began
        await asyncio.gather(*running)
        return {**self.tally.as_dict(self._clock() - began), "offered": len(running), "offering": offered}

    async def _exchange(self, start: float) -> None:
        tally, previous, size, pieces = self.tally, 0.0, 0, 0
        try:
            async with aclosing(self._way.send(self._work, self._body)) as answer:  # type: ignore[type-var]
                async for piece in answer:
                    now = self._clock()
                    if previous:
                        tally.gap.record(now - previous)
                    else:
                        tally.first.record(now - start)
                    previous, size, pieces = now, size + len(piece), pieces + 1
        except RefusedError:
            tally.errors["refused"] += 1
            tally.refusal.record(self._clock() - start)
        except Exception as error:
            tally.errors[f"{type(error).__name__}: {str(error)[:200]}"] += 1
        else:
            tally.latency.record(self._clock() - start)
            tally.exchanges += 1
            tally.pieces += pieces
            tally.sent += len(self._body)
            tally.received += size


class Held:
    """Exchanges whose responses have begun and do not end."""

    def __init__(self, way: Way, work: Work) -> None:
        self._way = way
        self._work = work
        self._body = work.body()
        self._tasks: list[asyncio.Task[None]] = []
        self._begun = 0
        self._failed: Counter[str] = Counter()

    async def hold(self, count: int, at_once: int = 50, *, read: bool = True) -> dict[str, Any]:
        """Opens exchanges until there are `count`, and waits for the first piece of each.

        Unless they are `read`, no more is taken from them than that piece.
        """
        room = asyncio.Semaphore(at_once)
        missing = count - len(self._tasks)
        opened = []
        for _ in range(missing):
            await room.acquire()
            begun = asyncio.Event()
            self._tasks.append(asyncio.create_task(self._wait(begun, read=read)))
            opened.append(begun)
            asyncio.get_running_loop().create_task(self._give_back(begun, room))
        await asyncio.gather(*(each.wait() for each in opened))
        return {"held": self._begun, "errors": dict(self._failed)}

    async def release(self) -> None:
        """Ends them, as a client that disconnects."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._begun = 0

    async def _wait(self, begun: asyncio.Event, *, read: bool) -> None:
        try:
            async with aclosing(self._way.send(self._work, self._body)) as answer:  # type: ignore[type-var]
                async for _ in answer:
                    if not begun.is_set():
                        self._begun += 1
                        begun.set()
                    if not read:
                        await asyncio.Event().wait()
        except Exception as error:
            self._failed[f"{type(error).__name__}: {str(error)[:200]}"] += 1
        finally:
            begun.set()

    @staticmethod
    async def _give_back(begun: asyncio.Event, room: asyncio.Semaphore) -> None:
        await begun.wait()
        room.release()
