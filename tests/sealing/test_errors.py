"""The hierarchy of errors is the drawn one, and each carries what a person needs."""

from __future__ import annotations

import inspect
import re

import pytest

from blindrelay.sealing import ForkedError, SealingError, errors


def classes() -> dict[str, type[Exception]]:
    found = {name: each for name, each in vars(errors).items() if inspect.isclass(each)}
    return {name: each for name, each in found.items() if issubclass(each, SealingError)}


def test_the_drawn_tree_is_the_real_one() -> None:
    """Each line's indentation is four columns for each step from the root."""
    drawn: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"    ([│├└─ ]*)(\w+Error)\b", line):
            drawn.append((len(found[1]) // 4, found[2]))
    depth = {name: len(each.__mro__) - len(SealingError.__mro__) for name, each in classes().items()}
    assert {name: level for level, name in drawn} == depth
    parents: list[str] = []
    for level, name in drawn:
        parents[level:] = [name]
        assert [each.__name__ for each in classes()[name].__mro__[: level + 1]] == parents[::-1]


@pytest.mark.parametrize("name", classes())
def test_each_error_says_what_it_is(name: str) -> None:
    assert (inspect.getdoc(classes()[name]) or "").endswith((".", "bytes.")), name


def test_a_fork_carries_its_proof() -> None:
    assert ForkedError(b"one", b"other").proof == (b"one", b"other")
