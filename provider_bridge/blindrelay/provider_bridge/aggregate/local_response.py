"""Responses that the bridge makes itself, in the form that the SDK of a dialect reads."""

from __future__ import annotations

import json
from typing import Any, Final

from blindrelay.provider_bridge.aggregate.addresses import Dialect
from blindrelay.provider_bridge.upstream.provider_call import ProviderResponse
from blindrelay.v1.http_headers import Header
from blindrelay.v1.inner_pb2 import BODY_END_LENGTH

MAX_QUOTED: Final = 256
"""The most characters of a model's name that an error quotes."""


class _Whole:
    """A body that is complete already."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    @property
    def ended(self) -> bool:
        return not self._body

    def take(self, size: int) -> bytes:
        taken, self._body = self._body[:size], self._body[size:]
        return taken

    async def arrival(self, timeout: float | None) -> bool:
        return True

    def close(self) -> None:
        self._body = b""


def json_response(status: int, value: Any, headers: tuple[Header, ...] = ()) -> ProviderResponse:
    """A response with a JSON body."""
    body = json.dumps(value).encode()
    listed = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
    return ProviderResponse(status, listed, _Whole(body), BODY_END_LENGTH, close_allowed=False)


def model_not_found(dialect: Dialect, name: str) -> ProviderResponse:
    """The 404 that an SDK turns into its NotFoundError."""
    message = f"The model `{name[:MAX_QUOTED]}` does not exist at this bridge."
    error: dict[str, Any]
    if dialect is Dialect.ANTHROPIC:
        error = {"type": "error", "error": {"type": "not_found_error", "message": message}}
    else:
        details = {"type": "invalid_request_error", "param": "model", "code": "model_not_found"}
        error = {"error": {"message": message, **details}}
    marks = ((b"x-blindrelay-error", b"bridge/model_not_found"), (b"x-should-retry", b"false"))
    return json_response(404, error, marks)
