"""A pool under load with sick members: one at its limit, one dead, one slow, one refused."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from statistics import quantiles
from typing import Final

import pytest

from blindrelay.provider_bridge.aggregate.model_table import Model, Target
from blindrelay.testbed.ports import free_port

from ..scripted_provider import Connection, Script, response
from .conftest import House, by_secret

EXCHANGES: Final = 400
AT_ONCE: Final = 16
QUICK: Final = 0.02
SLOW: Final = 3.0
BETWEEN: Final = 0.02
"""By so many seconds each exchange sets the rests' clock forward: a slow machine has no more trials."""


def answering(seconds: float, served: Counter[bytes]) -> Script:
    """Answers after a while, and notes which request it was."""

    async def script(connection: Connection) -> None:
        served[connection.request.body] += 1
        await asyncio.sleep(seconds)
        await response(b'{"answered":1}')(connection)

    return script


async def loaded(house: House, served: Counter[bytes], *, sick: bool) -> list[float]:
    """The seconds of each exchange of one load. Every exchange gets an answer."""
    healthy = answering(QUICK, served)
    busy = response(status=b"429 Too Many", headers=b"retry-after: 2\r\n")
    scripts = {"ok1": healthy, "ok2": healthy}
    if sick:
        scripts |= {"busy": busy, "wrong": response(status=b"401 No"), "slow": answering(SLOW, served)}
        await house.provider("dead", target=f"http://127.0.0.1:{free_port()}")
    await house.provider("pool", by_secret(**scripts), secrets=tuple(f"sk-{name}" for name in scripts))
    await house.open(Model("m", tuple(Target(name, "m") for name in house.scripted)))
    numbers, taken = iter(range(EXCHANGES)), list[float]()

    async def client() -> None:
        for number in numbers:
            began = time.perf_counter()
            body = b'{"model":"m","messages":[{"role":"user","content":"%d"}]}' % number
            answer = await house.ask(body=body)
            assert (answer.status, answer.body) == (200, b'{"answered":1}'), answer
            taken.append(time.perf_counter() - began)
            house.now += BETWEEN

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return taken


@pytest.mark.timeout(300)  # 400 exchanges
@pytest.mark.parametrize("sick", [True, False], ids=["sick", "healthy"])
async def test_nobody_sees_a_failure_and_nobody_is_asked_twice(
    house: House, sick: bool, record_property: object
) -> None:
    served: Counter[bytes] = Counter()
    taken = (await loaded(house, served, sick=sick))[EXCHANGES // 4 :]
    print(f"p50 {sorted(taken)[len(taken) // 2]:.3f} p99 {quantiles(taken, n=100)[98]:.3f}", house.attempts)
    assert len(served) == EXCHANGES
    assert set(served.values()) == {1}, "one answer, one call that ran"
    failures = sum(house.attempts.values()) - EXCHANGES
    assert failures < EXCHANGES // 10, house.attempts
