"""The errors of the message path and of trust: their docstrings draw the real tree."""

from __future__ import annotations

import inspect
import re
from types import ModuleType

import pytest

from blindrelay.sealing import SealingError
from blindrelay.sealing import errors as sealing_errors
from blindrelay.trust import TrustError
from blindrelay.trust import errors as trust_errors

TREES: tuple[tuple[ModuleType, type[Exception]], ...] = (
    (sealing_errors, SealingError),
    (trust_errors, TrustError),
)


def classes(module: ModuleType, root: type[Exception]) -> dict[str, type[Exception]]:
    found = {name: each for name, each in vars(module).items() if inspect.isclass(each)}
    return {name: each for name, each in found.items() if issubclass(each, root)}


@pytest.mark.parametrize(("module", "root"), TREES)
def test_drawn_tree_is_the_real_one(module: ModuleType, root: type[Exception]) -> None:
    """Each line's indentation is four columns for each step from the root."""
    drawn: list[tuple[int, str]] = []
    for line in (module.__doc__ or "").splitlines():
        if found := re.match(r"    ([│├└─ ]*)(\w+Error)\b", line):
            drawn.append((len(found[1]) // 4, found[2]))
    real = classes(module, root)
    depth = {name: len(each.__mro__) - len(root.__mro__) for name, each in real.items()}
    assert {name: level for level, name in drawn} == depth
    parents: list[str] = []
    for level, name in drawn:
        parents[level:] = [name]
        assert [each.__name__ for each in real[name].__mro__[: level + 1]] == parents[::-1]


@pytest.mark.parametrize(("module", "root"), TREES)
def test_each_error_says_what_it_is(module: ModuleType, root: type[Exception]) -> None:
    for name, each in classes(module, root).items():
        assert (inspect.getdoc(each) or "").endswith((".", "bytes.")), name
