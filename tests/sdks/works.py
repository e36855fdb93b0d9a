"""Marks what a test shows to work, for the table in docs/compatibility.md."""

from __future__ import annotations

import inspect
from typing import Any, Final

import pytest

PROPERTY: Final = "works"
"""The property of a test in pytest's report: JSON of sdk, feature and column."""

COLUMNS: Final = ("transport", "transport, async", "endpoint", "endpoint, async")


def works(sdk: str, feature: str) -> pytest.MarkDecorator:
    """The test shows that this feature of the SDK works, in the way that its parameter `way` names.

    A test without that parameter is one of the endpoint.
    """
    return pytest.mark.works(sdk, feature)


def case(sdk: str, feature: str, value: object) -> Any:
    """One value of a parametrized test, which shows this feature."""
    return pytest.param(value, id=f"{sdk}: {feature}", marks=works(sdk, feature))


def shown_by(item: pytest.Item) -> list[tuple[str, str, str]]:
    """What a test shows: SDK, feature and column."""
    return [(*mark.args, _column(item)) for mark in item.iter_markers("works")]


def _column(item: pytest.Item) -> str:
    parameters = getattr(item, "callspec", None)
    way = next((each for each in parameters.params.values() if each in COLUMNS), None) if parameters else None
    asynchronous = inspect.iscoroutinefunction(getattr(item, "function", None))
    return (way or "endpoint") + (", async" if asynchronous else "")
