"""What a double is, and how doubles are put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

Double = Callable[[], AbstractContextManager[object]]
"""Takes a protection out of client and bridge in this process, for as long as its block runs."""


def together(*doubles: Double) -> Double:
    """A double that lacks all that the given ones lack."""

    @contextmanager
    def all_of_them() -> Iterator[None]:
        with ExitStack() as stack:
            # Each is made when the ones before it are in place: it may wrap what they have patched.
            for double in doubles:
                stack.enter_context(double())
            yield

    return all_of_them


def nothing_missing() -> AbstractContextManager[object]:
    """The protection lies elsewhere: the twin is the same alteration where it is not looked for."""
    return ExitStack()


@contextmanager
def patches(*each: AbstractContextManager[object]) -> Iterator[None]:
    """All of them, for as long as the block runs."""
    with ExitStack() as stack:
        for one in each:
            stack.enter_context(one)
        yield
