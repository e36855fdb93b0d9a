"""The base of every exception of this project: it survives pickling and copying."""

from __future__ import annotations

import copyreg
from typing import Any


class PicklableError(Exception):
    """An exception that a process pool can send to its parent, whatever its constructor takes.

    An ordinary exception is rebuilt by calling its class with `args`. One whose constructor takes something
    else fails there, and multiprocessing.Pool then waits for ever.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """What it holds; its constructor is not called again."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]
