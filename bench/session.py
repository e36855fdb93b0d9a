"""What the comparisons of one run share: processes that take seconds to start, and idle at no cost."""

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
        """What `start` gave the first time, on a chain that lives as long as the session.

        It is told how many exchanges the plan has at once at most.
        """
        if name not in self._made:
            chain = self._stack.enter_context(Chain())
            self._made[name] = start(chain, self._concurrency)
        made: T = self._made[name]
        return made

    def forget(self) -> None:
        """After a failure: ends everything, to be started anew by whoever needs it."""
        self._made.clear()
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.forget()
