"""Every exception survives pickling and copying, as process pools do them."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Iterator
from typing import Any

import httpx
import httpx2
import pytest

import blindrelay
from blindrelay.client import errors
from blindrelay.client.errors import BlindRelayError, BridgeError, TimedOutError
from blindrelay.client.httpx_compat import as_library_error
from blindrelay.v1.inner_pb2 import ErrorCode, ExchangeError
from blindrelay.v1.picklable_error import PicklableError


def exception_classes() -> Iterator[type[Exception]]:
    for info in pkgutil.walk_packages(blindrelay.__path__, "blindrelay."):
        if not info.name.endswith("__main__"):
            values = vars(importlib.import_module(info.name)).values()
            classes = (value for value in values if inspect.isclass(value) and value.__module__ == info.name)
            yield from (each for each in classes if issubclass(each, Exception))


CLASSES = sorted(set(exception_classes()), key=lambda kind: (kind.__module__, kind.__name__))


def copies(error: Exception) -> list[Exception]:
    pickled = [pickle.loads(pickle.dumps(error, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    return [*pickled, copy.copy(error), copy.deepcopy(error)]


def state(error: Exception) -> tuple[Any, ...]:
    attributes = {name: value for name, value in error.__dict__.items() if name != "_request"}
    return type(error), str(error), error.args, attributes


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__qualname__)
def test_exception_is_pickled_and_copied(kind: type[Exception]) -> None:
    """A class without the base can rely only on what its constructor put into `args`."""
    has_base = issubclass(kind, PicklableError)
    assert has_base or not inspect.isfunction(kind.__init__), "its own constructor needs the base"
    error = kind.__new__(kind, "something happened", "to it") if has_base else kind("it")
    error.__dict__.update(status=403, notes=["a note"])
    assert [state(each) for each in copies(error)] == [state(error)] * len(copies(error))


ERRORS: list[BlindRelayError] = [
    BridgeError(ExchangeError(code=ErrorCode.ERROR_CODE_OVERLOADED, message="no room")),
    TimedOutError("read", 5),
    *(getattr(errors, name)("wrong") for name in ("ConfigurationError", "RelayError", "UnreachableError")),
    *(getattr(errors, name)() for name in ("AlteredResponseError", "ClosedError", "ForkError")),
]


@pytest.mark.parametrize("library", [httpx, httpx2])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_combined_error_is_pickled_and_copied(error: BlindRelayError, library: Any) -> None:
    request = library.Request("POST", "https://api.openai.com/v1/chat/completions", content=iter([b"x"]))
    raised = as_library_error(error, request, "ReadError")
    assert isinstance(raised, type(error))
    for each in copies(raised):
        assert state(each) == state(raised)
        assert isinstance(each, library.ReadError)
        assert each.request.url == request.url
