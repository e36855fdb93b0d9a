"""How a program's exchanges reach the relay: by the library, by the endpoint, and by `blindrelay run`.

python -m tests.sealed_or_failed.ways CANARIES is the program that is run. It takes the words as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import httpx

from blindrelay.client import SealedTransport
from blindrelay.testbed.ports import free_port
from tests.patience import PATIENCE

from ..client.endpoint.conftest import running
from .content import ERRORS, IN_CLEAR, ORIGIN, Canaries, ending, endings, reason, requests
from .world import Outcomes, World

PROGRAM_SECONDS: Final = 240.0
"""For a program and its endpoint, from their start to their end."""

Way = Callable[[World, str, Canaries], Outcomes]
"""Sends the canaries over a connection, and tells how it ended."""


def by_library(_: World, connection: str, canaries: Canaries) -> Outcomes:
    with SealedTransport(connection) as sealed, sealed.httpx2_client(timeout=PATIENCE) as client:
        return {"library": endings(client, ORIGIN, canaries)}


def by_asynchronous_library(_: World, connection: str, canaries: Canaries) -> Outcomes:
    return {"asynchronous library": asyncio.run(_asynchronously(connection, canaries))}


async def _asynchronously(connection: str, canaries: Canaries) -> list[str]:
    async def sent(request: dict[str, Any]) -> str:
        try:
            return ending(await client.request(**request))
        except ERRORS as error:
            return reason(error)

    async with SealedTransport(connection) as sealed, sealed.async_httpx_client(timeout=PATIENCE) as client:
        return list(await asyncio.gather(*map(sent, requests(canaries, ORIGIN))))


def by_endpoint(world: World, connection: str, canaries: Canaries) -> Outcomes:
    """By `blindrelay proxy`, to which a program speaks in clear."""
    with endpoint(world, connection) as client:
        return {"endpoint": endings(client, str(client.base_url).rstrip("/"), canaries)}


@contextmanager
def endpoint(world: World, connection: str) -> Iterator[httpx.Client]:
    """A program's client for a running endpoint, which is its base URL."""
    with tempfile.TemporaryDirectory() as state, running(connection, Path(state)) as started:
        world.own.add(started.port)
        with started.client(headers={"x-blindrelay-token": started.token}, timeout=PATIENCE) as client:
            yield client


def by_program(world: World, connection: str, canaries: Canaries) -> Outcomes:
    """By `blindrelay run` without a wall, since a wall would hide what the program sends."""
    port = free_port()
    world.own.add(port)
    options = ["--no-wall", "--port", str(port), "--relay", connection]
    command = [
        *(sys.executable, "-m", "blindrelay.client", "run", *options, "--"),
        *(sys.executable, "-m", "tests.sealed_or_failed.ways", json.dumps(asdict(canaries))),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PROGRAM_SECONDS)
    assert done.returncode == 0, done.stderr
    outcomes: Outcomes = json.loads(done.stdout)
    return outcomes


def main() -> None:
    """Uses the endpoint of its environment, then bypasses it, and prints the ends as JSON."""
    canaries = Canaries(**json.loads(sys.argv[1]))
    sealed = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")
    with httpx.Client(timeout=PATIENCE) as client:
        ends = endings(client, sealed, canaries)
        past = [*endings(client, ORIGIN, canaries), *endings(client, IN_CLEAR, canaries)]
    print(json.dumps({"program": ends, "past the endpoint": past}))


if __name__ == "__main__":
    main()
