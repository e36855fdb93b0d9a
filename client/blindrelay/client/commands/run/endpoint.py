"""The local endpoint while a program runs: in a thread, on an existing socket."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from blindrelay.client.connection_config import ConnectionConfig, profile_file
from blindrelay.client.endpoint import Unsealed, listen, new_token, read_providers, serve
from blindrelay.client.errors import ConfigurationError

__all__ = ["Unsealed", "listen", "new_token", "running_endpoint"]

_Serve = Callable[[Callable[[], None]], Coroutine[Any, Any, Any]]


@contextmanager
def running_endpoint(connection: ConnectionConfig, listener: socket.socket, token: str) -> Iterator[Unsealed]:
    """Serves with this token, and counts what it refuses to send in clear. Raises ConfigurationError."""
    providers = read_providers(profile_file())
    default = connection.provider
    if default not in providers:
        raise ConfigurationError(f"provider is one of {', '.join(sorted(providers))}, not {default!r}")
    unsealed = Unsealed()

    async def serving(announce: Callable[[], None]) -> None:
        await serve(listener, connection, token, providers, default, announce, unsealed=unsealed)

    with listener, _in_thread(serving):
        yield unsealed


@contextmanager
def _in_thread(serve: _Serve) -> Iterator[None]:
    """Serves in a thread while the block runs. Raises what `serve` raises before it announces."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (asyncio.run makes one)
        await serve(lambda: started.set_result((asyncio.get_running_loop(), task)))

    def run() -> None:
        try:
            asyncio.run(main())
        except asyncio.CancelledError:
            return
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=run, name="blindrelay endpoint", daemon=True)
    thread.start()
    loop, task = started.result()
    try:
        yield
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(task.cancel)
        thread.join()
