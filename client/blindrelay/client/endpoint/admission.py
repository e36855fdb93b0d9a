"""Which requests may go to a provider: by token, by destination, and by how many run already."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import httpx
from starlette.types import Scope

from blindrelay.client.endpoint.access import Access
from blindrelay.client.endpoint.refusal import RefusedError
from blindrelay.client.endpoint.routes import Destination, Routes
from blindrelay.client.endpoint.token_file import TOKEN_PREFIX
from blindrelay.client.provider_apis import Api
from blindrelay.v1.http_headers import Header

MAX_REQUESTS: Final = 256
"""Requests at once. 64 of them are exchanges; the others wait."""

_TIMEOUTS: Final = {"connect": 10.0, "pool": 60.0, "write": 600.0, "read": None}
"""Seconds. The program decides how long a response may be silent: the exchange ends when it goes away. The
connection's deadline applies in any case."""

_KEY: Final = b"x-api-key"


@dataclass(frozen=True)
class Admitted:
    """A request that may go to its provider."""

    method: str
    destination: Destination
    headers: list[Header]
    local_url: Callable[[str], str | None]

    def request(self, body: AsyncIterable[bytes] | bytes | None = None) -> httpx.Request:
        """The request for the transport. Raises RefusedError."""
        try:
            return httpx.Request(
                self.method,
                self.destination.url,
                headers=self.headers,
                content=body,
                extensions={"timeout": _TIMEOUTS},
            )
        except httpx.InvalidURL:
            raise RefusedError(400, "request", "the path is not valid in a URL") from None


class Admission:
    """Admits requests and WebSockets."""

    def __init__(self, routes: Routes, access: Access) -> None:
        self._routes = routes
        self._access = access
        self._running = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Counts a request while the block runs."""
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    def admit(self, scope: Scope) -> Admitted:
        """The request of an ASGI scope, if it may go on. Raises RefusedError."""
        raw: list[Header] = scope["headers"]
        host = next(value for name, value in raw if name == b"host").decode("latin-1")
        path, headers, prefix = self._access.admitted(scope["raw_path"].decode("latin-1"), raw)
        if self._running > MAX_REQUESTS:
            raise RefusedError(503, "busy", f"{MAX_REQUESTS} requests are running", retry=True)
        method = scope.get("method", "GET")
        names = _names(raw, headers)
        query = scope["query_string"].decode("latin-1")
        destination = self._routes.destination(method, path, query, names)

        def local_url(url: str) -> str | None:
            local = self._routes.local_path(url)
            return None if local is None else f"http://{host}{prefix}{local}"

        return Admitted(method, destination, headers, local_url)

    def api(self, scope: Scope) -> Api:
        """The API that a request seems to be for, admitted or not. It decides the shape of errors."""
        path = scope["raw_path"].decode("latin-1")
        if path.startswith(f"/{TOKEN_PREFIX}"):
            path = "/" + path[1:].partition("/")[2]
        raw = scope["headers"]
        return self._routes.api(
            scope.get("method", "GET"), path, _names(raw, self._access.without_token(raw))
        )


def _names(received: list[Header], kept: list[Header]) -> set[str]:
    """The headers' names. An x-api-key with the endpoint's token says nothing about the provider."""
    names = {name.decode("latin-1") for name, _ in received}
    return names if any(name == _KEY for name, _ in kept) else names - {_KEY.decode()}
