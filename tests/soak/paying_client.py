"""A client that pays: asks without a pause until it is killed, and sometimes leaves in the middle.

    python -m tests.soak.paying_client CONNECTION

It prints a line when the first exchange has succeeded.
"""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import suppress
from typing import Final

import httpx2

from blindrelay.client import SealedTransport

AT_ONCE: Final = 8
URL: Final = "https://api.openai.com/v1/chat/completions"
_PAUSE: Final = 0.05
"""Seconds after an exchange that failed: some part is down."""


async def main(connection: str) -> None:
    chance = random.Random()
    async with SealedTransport(connection).async_httpx2_client(timeout=10) as client:
        while not await _asked(client, chance, leave=False):  # noqa: ASYNC110
            await asyncio.sleep(_PAUSE)
        print("paying", flush=True)
        await asyncio.gather(*(_ask_for_ever(client, chance) for _ in range(AT_ONCE)))


async def _ask_for_ever(client: httpx2.AsyncClient, chance: random.Random) -> None:
    while True:
        if not await _asked(client, chance, leave=chance.random() < 0.2):
            await asyncio.sleep(_PAUSE)


async def _asked(client: httpx2.AsyncClient, chance: random.Random, *, leave: bool) -> bool:
    """One exchange. Whether it was answered; `leave` closes it after the first bytes."""
    status = 500 if chance.random() < 0.05 else 200
    body = {
        "model": "scripted",
        "messages": [{"role": "user", "content": "x" * chance.randrange(2_000)}],
        "stream": leave or chance.random() < 0.5,
        "scripted": {"text": "word " * chance.randrange(1, 400), "status": status},
    }
    with suppress(httpx2.HTTPError):
        async with client.stream("POST", URL, json=body) as response:
            async for _ in response.aiter_bytes():
                if leave:
                    break
            return response.status_code in (200, 500)
    return False


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
