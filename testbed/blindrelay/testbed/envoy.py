"""An Envoy that a control process has configured, as a part of a testbed.

    python -m blindrelay.testbed.envoy BOOTSTRAP ADDRESS

SIGTERM lets its exchanges finish. While it does, another one may listen on the same port.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from pathlib import Path
from typing import Final

import httpx2

from blindrelay.testbed.envoy_relay import envoy_command
from blindrelay.testbed.foreign_program import ForeignProgram, run_as_part

LISTEN_SECONDS: Final = 1
"""Seconds for how long an Envoy that is stopped takes new connections, while clients hear that it goes."""

DRAIN_SECONDS: Final = 30.0
"""Seconds for its exchanges to finish."""

CALL_SECONDS: Final = 60.0
"""Seconds for a call to its admin service. It takes milliseconds, or more on a busy machine."""

_LOOK_SECONDS: Final = 0.1


class Admin:
    """The admin service inside one Envoy. Its socket gets a second name: the next Envoy takes the first."""

    def __init__(self, folder: Path) -> None:
        self._given = folder / "admin.sock"
        self._own = folder / f"admin-{os.getpid()}.sock"
        self._given.unlink(missing_ok=True)

    async def is_ready(self, _: Process) -> bool:
        """Whether Envoy serves. Names the socket then."""
        if not self._given.exists():
            return False
        try:
            ready = (await _call(self._given, "GET", "/ready")).is_success
        except httpx2.TransportError:
            return False
        if ready:
            self._own.hardlink_to(self._given)
        return ready

    async def drain(self) -> None:
        """Ends listening, and waits for the exchanges, for at most DRAIN_SECONDS."""
        await _call(self._own, "POST", "/drain_listeners?graceful")
        await asyncio.sleep(LISTEN_SECONDS)
        for _ in range(int(DRAIN_SECONDS / _LOOK_SECONDS)):
            if not await self._running():
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _running(self) -> int:
        found = await _call(self._own, "GET", "/stats?filter=^http.clients.downstream_rq_active$")
        return int(found.text.rpartition(":")[2] or 0)

    def close(self) -> None:
        """Removes the second name."""
        self._own.unlink(missing_ok=True)


async def _call(socket: Path, method: str, path: str) -> httpx2.Response:
    transport = httpx2.AsyncHTTPTransport(uds=str(socket))
    async with httpx2.AsyncClient(transport=transport, timeout=CALL_SECONDS) as client:
        return await client.request(method, f"http://envoy{path}")


def main() -> int:
    """Serves until SIGTERM."""
    bootstrap, address = Path(sys.argv[1]), sys.argv[2]
    admin = Admin(bootstrap.parent)
    try:
        return asyncio.run(run_as_part(_envoy(bootstrap, admin), {"listening": address}))
    finally:
        admin.close()


def _envoy(bootstrap: Path, admin: Admin) -> ForeignProgram:
    async def stop(process: Process) -> None:
        await admin.drain()
        process.terminate()

    command = envoy_command(bootstrap, "--drain-time-s", str(LISTEN_SECONDS))
    return ForeignProgram(command, admin.is_ready, stop, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
