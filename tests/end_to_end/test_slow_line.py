"""An upload over a slow line arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed

URL = "https://api.openai.com/v1/chat/completions"

BYTES_PER_SECOND = 4_096
SIZE = 72_000
"""More than one record. The first one takes sixteen seconds."""


@asynccontextmanager
async def slow_line(target: str) -> AsyncIterator[str]:
    """The address of a line to the target. It carries BYTES_PER_SECOND upwards, and buffers the rest."""
    host, _, port = target.rpartition(":")

    async def carry(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int, pause: float
    ) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(size):
                writer.write(piece)
                await asyncio.sleep(pause)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up, down = await asyncio.open_connection(host, int(port))
        # gRPC closes a connection whose peer takes nothing. A real line has a buffer, too.
        async with asyncio.TaskGroup() as both:
            both.create_task(carry(reader, down, 256, 256 / BYTES_PER_SECOND))
            both.create_task(carry(up, writer, 65_536, 0))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def test_slow_upload_arrives() -> None:
    body = {"model": "m", "messages": [], "user": "x" * SIZE}
    with Testbed("scripted") as bed:
        async with (
            slow_line(bed.parts["relay"].listening) as line,
            SealedTransport(bed.connection(line)) as sealed,
            sealed.async_httpx2_client(timeout=None) as client,
        ):
            answer = await client.post(URL, json=body)
    assert answer.status_code == 200
