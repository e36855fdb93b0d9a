"""What the comparisons of one run share: processes that take seconds to start and cost nothing while idle."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

from bench.chain import Chain
from bench.plan import Plan

T = TypeVar("T")


class Session:
    """Ends what was started when the block is left."""

    def __init__(self, plan: Plan) -> None:
        self._concurrency = max(16, *plan.concurrencies)
        self._stack = ExitStack()
        self._made: dict[str, Any] = {}

    def once(self, name: str, start: Callable[[Chain, int], T]) -> T:
        """Calls `start` the first time, with a chain that lives as long as the session, and keeps the result.

        `start` also gets the largest number of exchanges that the plan has at once.
        """
        if name not in self._made:
            chain = self._stack.enter_context(Chain())
            self._made[name] = start(chain, self._concurrency)
        made: T = self._made[name]
        return made

    def forget(self) -> None:
        """After a failure: ends everything. The next comparison starts what it needs."""
        self._made.clear()
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.forget()
