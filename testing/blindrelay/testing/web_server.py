"""uvicorn inside a running event loop: no signal handlers, no log lines, and it stops at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

_KEEP_ALIVE_SECONDS: Final = 75
"""Longer than clients keep idle connections, so that they are the ones who close them."""

_SILENT: Final = logging.Logger("blindrelay.testing", logging.CRITICAL + 1)
"""Not uvicorn's own logger: a test may run another uvicorn in this process."""


class _Connection(H11Protocol):
    """One connection. uvicorn would log each response that is cut on purpose."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.logger = _SILENT


@asynccontextmanager
async def serving(app: ASGIApp, port: int) -> AsyncIterator[int]:
    """Serves an application on 127.0.0.1 for as long as the block runs; gives the port.

    Raises OSError if the port is taken.
    """
    config = _config(app)
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(config, state, {}), "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        for task in list(state.tasks):
            task.cancel()
        await asyncio.gather(*state.tasks, return_exceptions=True)


def _config(app: ASGIApp) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        access_log=False,
        date_header=False,
        http=_Connection,
        lifespan="off",
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        ws="none",
    )
    config.load()
    return config
