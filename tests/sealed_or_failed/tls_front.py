"""TLS in front of a relay without it, so that the capture can read what is behind it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trustme


@asynccontextmanager
async def tls_front(target: tuple[str, int], certificate: trustme.LeafCert) -> AsyncIterator[int]:
    """Listens on a port of loopback, and forwards what it decrypts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    certificate.configure_cert(context)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection(*target)
        with suppress(asyncio.CancelledError):  # asyncio would print it
            await asyncio.gather(_passed(reader, behind_writer), _passed(behind_reader, writer))

    server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
