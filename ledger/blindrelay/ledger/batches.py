"""What arrives on a stream, in batches: the next one gathers while one is taken.

A transaction costs more than most of what is done in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from typing import Final, TypeVar

T = TypeVar("T")

MAX_BATCH: Final = 500
"""Receipts or lines after which no further message joins a transaction."""

MAX_WAITING: Final = 100
"""Messages that wait to be taken; then the peer waits."""


async def batches(
    messages: AsyncIterable[T], size: Callable[[T], int], silent_seconds: float | None = None
) -> AsyncGenerator[list[T], None]:
    """Whatever waits, at least one message, until the stream ends. `size` says how much a message holds.

    Raises what reading the messages raises, after those before it, and TimeoutError if nothing comes for
    `silent_seconds`.
    """
    arrived: asyncio.Queue[T | _End] = asyncio.Queue(MAX_WAITING)
    receiving = asyncio.create_task(_receive(messages, arrived))
    try:
        while True:
            batch: list[T] = []
            held = 0
            async with asyncio.timeout(silent_seconds):
                item = await arrived.get()
            while not isinstance(item, _End):
                batch.append(item)
                held += size(item)
                if arrived.empty() or held >= MAX_BATCH:
                    break
                item = arrived.get_nowait()
            if batch:
                yield batch
            if isinstance(item, _End):
                item.tell()
                return
    finally:
        receiving.cancel()


class _End:
    """The end of a stream, and the error that ended it, if one did."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def tell(self) -> None:
        if self._error is not None:
            raise self._error


async def _receive(messages: AsyncIterable[T], arrived: asyncio.Queue[T | _End]) -> None:
    end = _End(None)
    try:
        async for message in messages:
            await arrived.put(message)
    except Exception as error:
        end = _End(error)
    await arrived.put(end)
