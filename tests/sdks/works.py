"""Marks what a test shows to work, for the table in docs/compatibility.md."""

from __future__ import annotations

import inspect
from typing import Any, Final

import pytest

PROPERTY: Final = "works"
"""The property of a test in pytest's report: JSON of sdk, feature and column."""

COLUMNS: Final = ("transport", "transport, async", "endpoint", "endpoint, async")


def works(sdk: str, *features: str) -> pytest.MarkDecorator:
    """The test shows that these features of the SDK work, in the way that its parameter `way` names.

    A test without that parameter is one of the endpoint.
    """
    return pytest.mark.works(sdk, *features)


def case(sdk: str, value: object, *features: str) -> Any:
    """One value of a parametrized test, which shows these features."""
    return pytest.param(value, id=f"{sdk}: {features[0]}", marks=works(sdk, *features))


def shown_by(item: pytest.Item) -> list[tuple[str, str, str]]:
    """What a test shows: SDK, feature and column."""
    marks = item.iter_markers("works")
    return [(mark.args[0], feature, _column(item)) for mark in marks for feature in mark.args[1:]]


def _column(item: pytest.Item) -> str:
    parameters = getattr(item, "callspec", None)
    way = next((each for each in parameters.params.values() if each in COLUMNS), None) if parameters else None
    asynchronous = inspect.iscoroutinefunction(getattr(item, "function", None))
    return (way or "endpoint") + (", async" if asynchronous else "")
