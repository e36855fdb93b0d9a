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
import os
import random
import time
from collections import defaultdict
from collections.abc import Sequence

from blindrelay.provider_bridge.exchange_opener import TICK_SECONDS
from blindrelay.testbed import Testbed
from blindrelay.trust import parse_identity
from blindrelay.v1.exchange_pb2 import ExchangeRequest
from blindrelay.v1.outer_status import OuterStatus
from tests.provider_bridge.sealed_caller import SealedCaller, SealedRequest, outer_status, with_message


async def causes(caller: SealedCaller) -> dict[str, SealedRequest]:
    """Requests that are refused after an increasing amount of work."""
    good = await caller.seal()
    await caller.complete(good)
    sealed = ExchangeRequest.FromString(good.messages[0]).sealed
    return {
        "foreign identity": await caller.seal(identity=os.urandom(32)),
        "no secret": with_message(good, 0, encapsulated_secret=os.urandom(1_168)),
        "altered record": with_message(good, 0, sealed=sealed[:-1] + bytes([sealed[-1] ^ 1])),
        "replay": good,
    }


async def measure(bed: Testbed, samples: int) -> tuple[list[list[float]], list[list[float]]]:
    """How long refusals took, and their moments within a tick, both in seconds and by cause."""
    taken, phases = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    async with SealedCaller(bed.parts["bridge"].listening, parse_identity(bed.identity)) as caller:
        requests = await causes(caller)
        for cause in random.sample(list(requests) * samples, len(requests) * samples):
            await asyncio.sleep(random.uniform(0, TICK_SECONDS))
            began = time.monotonic()
            assert await outer_status(await caller.send(requests[cause])) == OuterStatus.REFUSED.value
            ended = time.monotonic()
            taken[cause].append(ended - began)
            phases[cause].append(ended % TICK_SECONDS)
    return list(taken.values()), list(phases.values())


def in_order(one: Sequence[float], other: Sequence[float]) -> float:
    """How often two samples are in the more frequent order."""
    later = sum((a < b) + (a == b) / 2 for a in one for b in other) / (len(one) * len(other))
    return max(later, 1 - later)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--samples", type=int, default=500, help="of each cause (default 500)")
    with Testbed("scripted") as bed:
        measured = asyncio.run(measure(bed, parser.parse_args().samples))
    for name, times in zip(("the caller's time", "within a tick"), measured, strict=True):
        print(f"{name}: {max(itertools.starmap(in_order, itertools.combinations(times, 2))):.1%}")
