"""Ctrl-C where Python handles it badly: while modules are imported, and while the process ends."""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_INTERRUPTED = 130
"""ExitCode.INTERRUPTED, which is not imported yet."""


@contextmanager
def ends_at_once() -> Iterator[None]:
    """While the block runs, Ctrl-C ends the process silently. For blocks that only import.

    An exception during an import leaves half a module behind, or is lost in an extension module.
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


def ignore_at_the_very_end() -> None:
    """Ignores Ctrl-C while Python shuts down, where it would change the exit code.

    This handler runs after all exit handlers that are registered later.
    """
    atexit.register(_ignore)


def end_at_once_from_now() -> None:
    """Makes Ctrl-C end the process silently from now on."""
    with suppress(ValueError):
        signal.signal(signal.SIGINT, _end)


def _end(*_: object) -> None:
    os._exit(_INTERRUPTED)


def _ignore() -> None:
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
