"""What the relay costs: CPU microseconds in its process, per exchange and per streamed message.

    python bench/relay_cpu.py [--rounds N] [--exchanges N] [--streams N] [--pieces N]

One load, sent in turn through the relay and straight to the bridge (which serves the same gRPC method),
round by round, so that a change of the machine's speed meets both. The provider is the scripted one, in a
process of its own, as are bridge and relay. Exchanges have one record each way and run one after the other;
streams are sent side by side, with `--pieces` pieces each.

CPU time is what the kernel counts for a process (user and system), in ticks of 10 ms: take enough exchanges.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx2

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed

URL = "https://api.openai.com/v1/chat/completions"
SIDE_BY_SIDE = 8
MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Sample:
    """One run of a load: CPU seconds by process, wall seconds, and by how much to divide."""

    cpu: dict[str, float]
    wall: float
    units: int

    def microseconds(self, part: str) -> float:
        return self.cpu[part] / self.units * MICROSECONDS


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def exchanges(client: httpx2.AsyncClient, count: int) -> int:
    for _ in range(count):
        response = await client.post(URL, json=chat({"text": "Hello."}))
        response.raise_for_status()
    return count


async def streams(client: httpx2.AsyncClient, count: int, pieces: int) -> int:
    async def one() -> None:
        body = chat({"text": "word " * pieces, "pieces_per_second": 500}, stream=True)
        async with client.stream("POST", URL, json=body) as response:
            async for _ in response.aiter_raw():
                pass

    for _ in range(count // SIDE_BY_SIDE):
        await asyncio.gather(*(one() for _ in range(SIDE_BY_SIDE)))
    return count // SIDE_BY_SIDE * SIDE_BY_SIDE * pieces


def chat(script: dict[str, Any], *, stream: bool = False) -> dict[str, Any]:
    messages = [{"role": "user", "content": "x" * 2_000}]
    return {"model": "scripted", "messages": messages, "stream": stream, "scripted": script}


async def measure(
    bed: Testbed, connection: str, load: Callable[[httpx2.AsyncClient], Awaitable[int]]
) -> Sample:
    async with SealedTransport(connection).async_httpx2_client() as client:
        await client.post(URL, json=chat({"text": "warm"}))
        before, started = {part: cpu_seconds(pid) for part, pid in bed.pids.items()}, perf_counter()
        units = await load(client)
        wall = perf_counter() - started
        cpu = {part: cpu_seconds(pid) - before[part] for part, pid in bed.pids.items()}
    return Sample(cpu, wall, units)


async def rounds(bed: Testbed, given: argparse.Namespace) -> dict[tuple[str, str], list[Sample]]:
    loads: dict[str, Callable[[httpx2.AsyncClient], Awaitable[int]]] = {
        "exchange": lambda client: exchanges(client, given.exchanges),
        "streamed piece": lambda client: streams(client, given.streams, given.pieces),
    }
    ways = {"through the relay": bed.relay, "straight to the bridge": bed.direct}
    samples: dict[tuple[str, str], list[Sample]] = {}
    for number in range(given.rounds):
        for unit, load in loads.items():
            for way, connection in ways.items():
                samples.setdefault((unit, way), []).append(await measure(bed, connection, load))
        print(f"round {number + 1} of {given.rounds} done", file=sys.stderr)
    return samples


def table(samples: dict[tuple[str, str], list[Sample]]) -> str:
    lines = [
        "| per | way | relay CPU µs | bridge CPU µs | wall µs |",
        "|---|---|---|---|---|",
    ]
    for (unit, way), runs in samples.items():
        relay = spread([run.microseconds("relay") for run in runs])
        bridge = spread([run.microseconds("bridge") for run in runs])
        wall = spread([run.wall / run.units * MICROSECONDS for run in runs])
        lines.append(f"| {unit} | {way} | {relay} | {bridge} | {wall} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """The median, with the least and the most."""
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})"


def machine() -> str:
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("grpcio", "protobuf", "cryptography", "pynacl")
    )
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--exchanges", type=int, default=500, help="exchanges in each round and way")
    parser.add_argument("--streams", type=int, default=64, help="streams in each round and way")
    parser.add_argument("--pieces", type=int, default=64, help="pieces in each stream")
    parser.add_argument("--json", action="store_true", help="print the samples instead of a table")
    given = parser.parse_args()
    with Testbed("scripted") as bed:
        samples = asyncio.run(rounds(bed, given))
    if given.json:
        rows = [
            {"per": unit, "way": way, "units": run.units, "wall": run.wall, "cpu": run.cpu}
            for (unit, way), runs in samples.items()
            for run in runs
        ]
        print(json.dumps({"machine": machine(), "samples": rows}))
    else:
        print(f"{machine()}\nmedian (least-most) of {given.rounds} rounds\n\n{table(samples)}")


if __name__ == "__main__":
    main()
