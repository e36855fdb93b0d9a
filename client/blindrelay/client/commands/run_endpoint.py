"""The local endpoint for as long as a program runs: in a thread, on loopback, with a token of its own."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from blindrelay.client.connection import Connection, profile_file
from blindrelay.client.endpoint import listen, read_providers, serve
from blindrelay.client.endpoint.token_file import TOKEN_PREFIX

_Serve = Callable[[Callable[[], None]], Coroutine[Any, Any, Any]]


@contextmanager
def running_endpoint(connection: Connection, port: int) -> Iterator[tuple[str, str]]:
    """Its URL and its token, which nothing keeps. Port 0 is any. Raises ConfigurationError."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    providers = read_providers(profile_file())
    listener = listen("127.0.0.1", port)
    host, bound = listener.getsockname()
    with (
        listener,
        _in_thread(lambda announce: serve(listener, connection, token, providers, "openai", announce)),
    ):
        yield f"http://{host}:{bound}", token


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
