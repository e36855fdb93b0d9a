"""Output for people at a terminal: a spinner, and text without control characters."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

_PATIENCE: Final = 1.0
"""Seconds before the spinner appears."""

_STEP: Final = 0.1
_FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_CLEAR_LINE: Final = "\r\x1b[K"


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Shows a spinner on stderr after a second, if it is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    over = threading.Event()
    spinner = threading.Thread(target=_spin, args=(text, over, sys.stderr), daemon=True)
    spinner.start()
    try:
        yield
    finally:
        over.set()
        spinner.join()


def _spin(text: str, over: threading.Event, stream: TextIO) -> None:
    if over.wait(_PATIENCE):
        return
    step = 0
    while not over.wait(_STEP):
        stream.write(f"{_CLEAR_LINE}{_FRAMES[step % len(_FRAMES)]} {text} …")
        stream.flush()
        step += 1
    stream.write(_CLEAR_LINE)
    stream.flush()


def printable(text: str) -> str:
    """The text without control characters except line feed and tab, so that it cannot steer a terminal."""
    return "".join(each for each in text if each in "\n\t" or not _is_control(ord(each)))


def one_line(text: str) -> str:
    """The same on one line."""
    return " ".join(printable(text).split())


def _is_control(code: int) -> bool:
    return code < 0x20 or 0x7F <= code < 0xA0
