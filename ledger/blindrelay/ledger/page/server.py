"""The pages' HTTP server: uvicorn on a socket that is already bound."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from blindrelay.ledger.page.config import PageListener

MAX_CONNECTIONS: Final = 200
"""Connections and requests at once. Others get 503."""


async def serve_app(app: ASGIApp, listener: socket.socket, place: PageListener) -> None:
    """Serves until it is cancelled. Running requests are then ended."""
    server = _Server(_uvicorn_config(app, place))
    try:
        await server.serve(sockets=[listener])
    except asyncio.CancelledError:
        if server.started:
            await server.shutdown()
        raise


def _uvicorn_config(app: ASGIApp, place: PageListener) -> uvicorn.Config:
    """uvicorn's settings: it logs no request and adds nothing to responses."""
    return uvicorn.Config(
        app,
        access_log=False,
        date_header=False,
        h11_max_incomplete_event_size=16_384,
        http="h11",
        lifespan="off",
        limit_concurrency=MAX_CONNECTIONS,
        log_config=None,
        # A fault in a page leaves its traceback on stderr; nothing else is written.
        log_level="error",
        proxy_headers=False,
        server_header=False,
        ssl_certfile=None if place.tls is None else place.tls.certificate,
        ssl_keyfile=None if place.tls is None else place.tls.key,
        ws="none",
    )


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the process, and ends at once."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.close()
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
