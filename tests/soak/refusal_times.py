"""How well the time of a refusal tells its cause.

python -m tests.soak.refusal_times --samples 500

For each pair of causes it takes one refusal of each, and counts how often the more frequent order occurs.
It is half of the time if time tells nothing. It compares what a caller measures, from call to refusal, and
the moment within a tick by the bridge's clock, which a caller on the same machine has.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import os
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from blindrelay.provider_bridge.exchange_opener import TICK_SECONDS
from blindrelay.testbed import Testbed
from blindrelay.trust import parse_identity
from blindrelay.v1.exchange_pb2 import ExchangeRequest
from blindrelay.v1.outer_status import OuterStatus
from tests.provider_bridge.sealed_caller import (
    SealedCaller,
    SealedRequest,
    collect,
    outer_status,
    with_sealed,
)

Times = defaultdict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--samples", type=int, default=500, help="of each cause (default 500)")
    samples = parser.parse_args().samples
    print(f"{samples} refusals of each cause; chance alone reaches {chance(samples):.1%}")
    with Testbed("scripted") as bed:
        for name, times in asyncio.run(measure(bed, samples)).items():
            print(f"{name} {told(times):5.1%}")


async def measure(bed: Testbed, samples: int) -> dict[str, Times]:
    """How long refusals took, and their moments within a tick, both by cause in seconds."""
    taken, phases = Times(list), Times(list)
    async with SealedCaller(bed.parts["bridge"].listening, parse_identity(bed.identity)) as caller:
        requests = await causes(caller)
        order = list(requests) * samples
        random.shuffle(order)
        for cause in order:
            await asyncio.sleep(random.uniform(0, TICK_SECONDS))
            began = time.monotonic()
            assert await outer_status(await caller.send(requests[cause])) == OuterStatus.REFUSED.value
            ended = time.monotonic()
            taken[cause].append(ended - began)
            phases[cause].append(ended % TICK_SECONDS)
    return {"by the caller's time": taken, "within a tick": phases}


async def causes(caller: SealedCaller) -> dict[str, SealedRequest]:
    """Requests that are refused after an increasing amount of work."""
    good = await caller.seal()
    await collect(await caller.send(good), good)
    sealed = ExchangeRequest.FromString(good.messages[0]).sealed
    no_secret = ExchangeRequest(encapsulated_secret=os.urandom(1_168), sealed=sealed)
    return {
        "foreign identity": await caller.seal(identity=os.urandom(32)),
        "no secret": replace(good, messages=[no_secret.SerializeToString()]),
        "altered record": with_sealed(good, 0, sealed[:-1] + bytes([sealed[-1] ^ 1])),
        "replay": good,
    }


def told(times: Times) -> float:
    """How often two samples are in the more frequent order, for the pair that differs most."""
    return max(_in_order(one, other) for one, other in itertools.combinations(times.values(), 2))


def chance(samples: int) -> float:
    """What told() rarely exceeds if times tell nothing: the best of six pairs, two standard deviations."""
    return 0.5 + 2 * math.sqrt((2 * samples + 1) / (12 * samples**2))


def _in_order(one: Sequence[float], other: Sequence[float]) -> float:
    later = sum((a < b) + (a == b) / 2 for a in one for b in other) / (len(one) * len(other))
    return max(later, 1 - later)


if __name__ == "__main__":
    main()
