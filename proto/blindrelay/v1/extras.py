"""The packages that a part of BlindRelay needs and a plain `pip install blindrelay` does not bring."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_WRONG_INPUT: Final = 2

_PROGRAMS: Final = frozenset({"-m", "__main__.py", "blindrelay", "blindrelay-relay", "blindrelay-bridge"})
"""What sys.argv[0] is named while one of our programs starts; -m while Python looks for its module."""

_BY_SIZE: Final = ("relay", "bridge", "client", "proxy", "testing", "testbed", "dev")
"""The last ones bring what the ones before them bring."""

_depth = 0


class MissingExtraError(ModuleNotFoundError):
    """A package of one of our extras is not installed; the text names the extra."""

    extra = ""


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Around imports that need an extra of ours. Of nested ones the largest is named.

    Raises MissingExtraError. While one of our programs starts, it ends the process instead, with one line
    and exit code 2.
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
