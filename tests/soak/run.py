"""`make soak`: relay, bridge and client under a steady mix of exchanges, and cancelled calls to providers.

It fails if a process grows, or if a connection is not returned. Then it runs a fifth of the time beside each
bad neighbour, and fails if others wait for it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from blindrelay.testbed import Testbed

from .cancellations import Cancellations, providers
from .neighbours import NEIGHBOURS
from .soak import Growth, Soak, complaints


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long (default 10)")
    minutes = parser.parse_args().minutes
    with Testbed("scripted") as bed:
        soak = Soak(bed)
        until = time.monotonic() + 60 * minutes
        growth = asyncio.run(soak.run(warm_up=2_000, rounds=1_000_000, each=500, until=until))
        courses = [asyncio.run(neighbour(bed, 12 * minutes)) for neighbour in NEIGHBOURS]
    growth["cancelled"] = asyncio.run(_cancelled_calls())
    print(f"{soak.exchanges:,} exchanges, and 20,000 calls to providers that were cancelled")
    print("process    resident MiB   bytes kept of each   more descriptors   more threads")
    for name, each in growth.items():
        kept = f"{each.bytes_each:20.1f} {each.descriptors:18} {each.threads:14}"
        print(f"{name:<10} {each.resident / 2**20:12.1f} {kept}")
    print(*courses, sep="\n")
    wrong = complaints(growth) + [complaint for course in courses for complaint in course.complaints]
    print("\n".join(wrong) or "nothing grows, and no one waits for a bad neighbour")
    return 1 if wrong else 0


async def _cancelled_calls() -> Growth:
    """What this process keeps of cancelled calls. Raises if a connection is not returned."""
    async with providers() as transports:
        soak = Cancellations(transports)
        await soak.run(rounds=40, each=500)
        await soak.use_every_place()
        return soak.growth


if __name__ == "__main__":
    sys.exit(main())
