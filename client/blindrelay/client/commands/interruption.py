"""Ctrl-C where Python has no good answer to it: while modules are imported, and while the process ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_INTERRUPTED = 130
"""ExitCode.INTERRUPTED, which is not imported yet."""


@contextmanager
def ends_at_once() -> Iterator[None]:
    """While the block runs Ctrl-C ends the process, without a word. For what only imports.

    An exception in the middle of an import leaves half a module behind, or is lost in an extension.
    """
    try:
        before = signal.signal(signal.SIGINT, _end)
    except ValueError:  # not the main thread, where no signal comes
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def end_at_once_from_now() -> None:
    """The same for the rest of this process, which is about to end."""
    with suppress(ValueError):
        signal.signal(signal.SIGINT, _end)


def _end(*_: object) -> None:
    os._exit(_INTERRUPTED)
