"""A double's life as a process: it says where it listens, and serves until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

import grpc


async def serve_until_told(server: grpc.aio.Server, **said: str) -> None:
    """Listens on any port of 127.0.0.1, prints {"listening": …} with what else is `said`, ends on SIGTERM."""
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    sys.stdout.write(json.dumps({"listening": f"127.0.0.1:{port}", **said}) + "\n")
    sys.stdout.flush()
    await ended.wait()
    await server.stop(0)
