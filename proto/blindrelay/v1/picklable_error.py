"""The base of every exception of this project: it survives pickling and copying."""

from __future__ import annotations

import copyreg
from typing import Any


class PicklableError(Exception):
    """An exception that a process pool can send to its parent, whatever arguments its constructor takes.

    Unpickling an ordinary exception calls its class with `args`. That fails if the constructor takes other
    arguments, and multiprocessing.Pool then waits for ever.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """Its state. Unpickling does not call the constructor."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]
