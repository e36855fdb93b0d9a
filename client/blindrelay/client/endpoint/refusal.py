"""The endpoint's own errors, and error responses in the shape that the API's SDK reads."""

from __future__ import annotations

import json
from typing import Final

import httpx
from starlette.types import Message, Send

from blindrelay.client.endpoint.response_headers import MARK
from blindrelay.client.error_mapping import error_body
from blindrelay.client.errors import BlindRelayError
from blindrelay.client.provider_apis import Api
from blindrelay.v1.http_headers import Header

_BAD_GATEWAY: Final = 502


class RefusedError(BlindRelayError):
    """The endpoint refuses the request.

    Attributes:
        status: an HTTP status.
        retry: whether an SDK may try again.
    """

    origin = "endpoint"

    def __init__(self, status: int, kind: str, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.retry = retry


def cause(error: BlindRelayError) -> str:
    """The error's origin and kind, for programs: "relay/overloaded"."""
    return f"{error.origin}/{error.kind}"


def error_response(error: BlindRelayError, api: Api) -> tuple[int, list[Header], bytes]:
    """The status, headers and body for an error.

    Errors that the transport raises may be retried (see error_mapping.py); no header forbids that.
    """
    retry = not isinstance(error, RefusedError) or error.retry
    status = _status(error)
    body = json.dumps(error_body(error, status, api)).encode()
    headers = [
        MARK,
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-blindrelay-error", cause(error).encode()),
        *([] if retry else [(b"x-should-retry", b"false")]),
    ]
    return status, headers, body


async def send_error(error: BlindRelayError, api: Api, send: Send) -> None:
    """Sends the error as an HTTP response."""
    status, headers, body = error_response(error, api)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def as_denial(send: Send) -> Send:
    """Sends an HTTP response to a WebSocket request, by the ASGI extension websocket.http.response."""

    async def denial(message: Message) -> None:
        await send({"body": b"", **message, "type": f"websocket.{message['type']}"})

    return denial


def _status(error: BlindRelayError) -> int:
    match error:
        case RefusedError():
            return error.status
        case httpx.PoolTimeout():
            return 503
        case httpx.TimeoutException():
            return 504
    return _BAD_GATEWAY
