"""A relay that occupies as much of a bridge as it can, with unfinished and cancelled requests.

It is a separate process. It prints "ready" when it has taken everything once, and continues until its
standard input is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from typing import Final

import grpc

from blindrelay.serving import authorization
from blindrelay.trust import parse_identity
from blindrelay.v1.inner_pb2 import DEADLINE_CLASS_HOUR
from tests.provider_bridge.sealed_caller import Call, SealedCaller, request_head

FILLER: Final = b'{"user":"' + b"a" * 70_000 + b'"}'
"""More than one record, so that a request can stay unfinished."""

OVERLOADED: Final = grpc.StatusCode.RESOURCE_EXHAUSTED

ATTEMPTS_PER_SECOND: Final = 50
"""New exchanges. Quotas limit what a peer holds, not how often it asks."""


class GreedyPeer:
    """Calls that it keeps open as long as the bridge allows."""

    def __init__(self, caller: SealedCaller, large: bytes) -> None:
        self._caller = caller
        self._large = large
        self._held: list[Call] = []

    async def take_everything(self) -> None:
        """Sends as many large requests as may fit, and small ones until one is refused."""
        for _ in range(16):
            await self._hold(self._large)
        while not [call for call in self._held if call.done() and await call.code() is OVERLOADED]:
            await self._hold(FILLER)

    async def keep_trying(self) -> None:
        """Takes every place that becomes free, and sometimes cancels a call."""
        while True:
            await asyncio.sleep(1 / ATTEMPTS_PER_SECOND)
            await self._hold(random.choice((FILLER, b"{}")))
            self._held = [call for call in self._held if not call.done()]
            if self._held and random.random() < 0.1:
                self._held.pop(random.randrange(len(self._held))).cancel()

    async def _hold(self, body: bytes) -> None:
        """Sends a request without its last record, if it has more than one."""
        request = await self._caller.seal(request_head(deadline_class=DEADLINE_CLASS_HOUR), body)
        call = self._caller.start(request)
        self._held.append(call)
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for message in request.messages[:-1] or request.messages:
                await call.write(message)


async def main(address: str, identity: str, token: str, large_bytes: int) -> None:
    large = b'{"user":"' + b"a" * (large_bytes - 11) + b'"}'
    async with SealedCaller(address, parse_identity(identity), (authorization(token),)) as caller:
        greedy = GreedyPeer(caller, large)
        await greedy.take_everything()
        print("ready", flush=True)
        trying = asyncio.create_task(greedy.keep_trying())
        await asyncio.to_thread(sys.stdin.read)
        trying.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
