"""Running calls by their access token or lease. Revoking that ends them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from blindrelay.serving.errors import CallRefusedError
from blindrelay.serving.tokens import CallMetadata, TokenFile
from blindrelay.v1.outer_status import OuterStatus

LOOK_SECONDS: Final = 1.0
"""Seconds between two checks of the token file for calls that were admitted before it changed."""


class Callers:
    """Admits calls that present a token of the file, and ends them when the token is removed from it.

    While the file cannot be read, new calls are refused and running calls continue. A brief disk failure
    must not end every stream.
    """

    def __init__(self, tokens: TokenFile) -> None:
        self._tokens = tokens
        self._calls = RunningCalls()

    @property
    def count(self) -> int:
        """How many tokens are accepted now."""
        return self._tokens.count

    @contextmanager
    def admitted(self, metadata: CallMetadata) -> Iterator[bytes]:
        """Admits one call while the block runs, and yields its token's name (TokenFile.holder).

        Raises CallRefusedError: UNAUTHENTICATED, at once or when the token is revoked.
        """
        holder = self._tokens.holder(metadata)
        if holder is None:
            raise CallRefusedError(OuterStatus.UNAUTHENTICATED)
        with self._calls.running(holder):
            yield holder

    async def end_revoked(self) -> None:
        """Ends the calls of revoked tokens, about a second after each change, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._calls.end(self._tokens.revoked(self._calls.holders))


class RunningCalls:
    """Running calls by what they were admitted with, a token or a lease, which may be revoked."""

    def __init__(self) -> None:
        self._calls: defaultdict[Hashable, set[_Call]] = defaultdict(set)

    @property
    def holders(self) -> Collection[Any]:
        """What the running calls were admitted with."""
        return self._calls.keys()

    @contextmanager
    def running(self, holder: Hashable) -> Iterator[None]:
        """Counts one call while the block runs. Raises CallRefusedError, UNAUTHENTICATED, after end()."""
        call = _Call()
        self._calls[holder].add(call)
        try:
            with call:
                yield
        finally:
            self._calls[holder].discard(call)
            if not self._calls[holder]:
                del self._calls[holder]

    def end(self, holders: Iterable[Hashable]) -> None:
        """Ends all their calls."""
        for holder in holders:
            for call in self._calls.get(holder, ()):
                call.end()


class _Call:
    """Can cancel the task that entered it. The cancellation leaves the block as UNAUTHENTICATED."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._ended = False

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task is not None else 0

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        task, self._task = self._task, None
        if not self._ended or task is None:
            return
        # If the task was also cancelled for another reason, that cancellation counts.
        if (
            task.uncancel() <= self._cancelling
            and kind is not None
            and issubclass(kind, asyncio.CancelledError)
        ):
            raise CallRefusedError(OuterStatus.UNAUTHENTICATED) from None

    def end(self) -> None:
        if self._task is not None and not self._ended:
            self._ended = True
            self._task.cancel()
