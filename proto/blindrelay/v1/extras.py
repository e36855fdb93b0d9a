"""Errors for packages that an optional part of BlindRelay needs, and that are not installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_WRONG_INPUT: Final = 2

_PROGRAMS: Final = frozenset(
    {"-m", "__main__.py", "blindrelay", "blindrelay-relay", "blindrelay-bridge", "blindrelay-ledger"}
)
"""The names in sys.argv[0] while one of our programs starts. It is -m while Python looks for the module."""

_BY_SIZE: Final = ("relay", "ledger", "bridge", "client", "proxy", "testing", "testbed", "dev")
"""Later ones include the packages of earlier ones."""

_depth = 0


class MissingExtraError(ModuleNotFoundError):
    """A package of one of our extras is not installed. The text names the extra."""

    extra = ""


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Surrounds imports that need one of our extras. If blocks are nested, the error names the largest.

    Raises MissingExtraError. While one of our programs starts, it instead prints one line and exits with
    code 2.
    """
    global _depth
    _depth += 1
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "blindrelay":
            raise
        if isinstance(error, MissingExtraError):
            extra = max(extra, error.extra, key=_BY_SIZE.index)
        sentence = f'the package {error.name} is not installed: pip install "blindrelay[{extra}]"'
        if _depth == 1 and _is_program():
            sys.stderr.write(f"blindrelay: {sentence}\n")
            raise SystemExit(_WRONG_INPUT) from None
        missing = MissingExtraError(sentence, name=error.name)
        missing.extra = extra
        raise missing from None
    finally:
        _depth -= 1


def _is_program() -> bool:
    name = sys.argv[0].replace("\\", "/").rpartition("/")[2] if sys.argv else ""
    return name.removesuffix(".exe") in _PROGRAMS
