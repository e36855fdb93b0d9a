"""The books for an event loop, which must not wait for a disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, Final, ParamSpec, TypeVar

from blindrelay.ledger.books import Books, BooksError

P = ParamSpec("P")
T = TypeVar("T")

RETRY_SECONDS: Final = 1.0
"""Seconds between two attempts while the books cannot be used."""


class AsyncBooks:
    """Calls of Books, each in one of two threads: long reads must not delay leases and receipts."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._writer = ThreadPoolExecutor(1, "books")
        self._reader = ThreadPoolExecutor(1, "books-reader")

    async def do(self, work: Callable[Concatenate[Books, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls a method of Books that takes little time. One runs at a time, in order."""
        return await _run(self._writer, lambda: work(self._books, *args, **kwargs))

    async def insist(
        self, work: Callable[Concatenate[Books, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As do(), again each second while the books cannot be used."""
        while True:
            try:
                return await self.do(work, *args, **kwargs)
            except BooksError:
                await asyncio.sleep(RETRY_SECONDS)

    async def read(self, work: Callable[Concatenate[Books, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls a method of Books that may read for long and changes nothing."""
        return await _run(self._reader, lambda: work(self._books, *args, **kwargs))

    def close(self) -> None:
        """Waits for the running calls, and closes the books."""
        self._writer.shutdown()
        self._reader.shutdown()
        self._books.close()


async def _run(executor: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(executor, call)
