"""httpx and httpx2 behind one interface.

Some official SDKs use httpx, others its maintained fork httpx2, and each refuses objects of the other one. A
transport needs no base class in either. So one transport serves both, if it returns and raises objects of the
library that the request comes from.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, Iterable
from functools import cache
from importlib import import_module
from typing import Any, Final, Protocol

from blindrelay.client.errors import BlindRelayError

_raised: dict[tuple[type[BlindRelayError], type[Exception]], type[Exception]] = {}


class Request(Protocol):
    """The interface that httpx.Request and httpx2.Request share."""

    @property
    def method(self) -> str: ...
    @property
    def url(self) -> Any: ...
    @property
    def headers(self) -> Any: ...
    @property
    def stream(self) -> Any: ...
    @property
    def extensions(self) -> Any: ...


_OTHER: Final = {"httpx": "httpx2", "httpx2": "httpx"}


def client_library(name: str) -> Any:
    """The module httpx or httpx2. Raises ImportError, which names the method for the other one."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        other = _OTHER[name]
        raise ModuleNotFoundError(
            f"{name} is not installed: install it, or call {other}_client() for an SDK that uses {other}",
            name=name,
        ) from None


@cache
def client_class(library: Any, name: str) -> Any:
    """The library's Client or AsyncClient, with a class name that helps if it is the wrong one.

    An SDK that expects the other library's client refuses this one and prints its class name.
    """
    other = _OTHER[library.__name__]
    method = f"async_{other}_client()" if name.startswith("Async") else f"{other}_client()"
    qualified = f"{name} (an SDK that expects {other}.{name} takes SealedTransport.{method})"
    return type(name, (getattr(library, name),), {"__module__": library.__name__, "__qualname__": qualified})


def library_of(request: object) -> Any:
    """The module, httpx or httpx2, that the request's class comes from."""
    return sys.modules[type(request).__module__.partition(".")[0]]


def in_memory(request: Request) -> bool:
    """Whether the body is bytes in memory, which can be sent again. JSON requests of SDKs are."""
    return isinstance(request.stream, library_of(request).ByteStream)


def body_bytes(request: Request) -> bytes:
    """The body of a request that is in memory."""
    return b"".join(request.stream)


def as_library_error(error: BlindRelayError, request: object, name: str) -> Exception:
    """The error as an object that is also the library's exception of that name.

    It keeps its attributes. ``except httpx.ConnectError`` and ``except RelayError`` both catch it.
    """
    library_type: type[Exception] = getattr(library_of(request), name)
    return _combined(type(error), library_type, error.args, {**error.__dict__, "_request": request})


def _combined(
    ours: type[BlindRelayError],
    library_type: type[Exception],
    arguments: tuple[Any, ...],
    attributes: dict[str, Any],
) -> Exception:
    key = (ours, library_type)
    if key not in _raised:
        _raised[key] = type(ours.__name__, key, {"__module__": ours.__module__, "__reduce__": _taken_apart})
    raised = _raised[key].__new__(_raised[key], *arguments)
    raised.__dict__.update(attributes)
    return raised


def _taken_apart(error: Exception) -> tuple[Any, ...]:
    """For pickle, which cannot find a class by name that was made at run time."""
    ours, library_type = type(error).__bases__
    return _combined, (ours, library_type, error.args, error.__dict__)


def response(
    request: object,
    status: int,
    headers: list[tuple[bytes, bytes]],
    body: AsyncIterable[bytes] | Iterable[bytes] | bytes,
    **extensions: object,
) -> Any:
    """A response of the request's library, with a body in memory or a streamed one."""
    library = library_of(request)
    extensions["http_version"] = b"HTTP/1.1"
    if isinstance(body, bytes):
        return library.Response(status, headers=headers, content=body, extensions=extensions)
    return library.Response(status, headers=headers, stream=body, extensions=extensions)
