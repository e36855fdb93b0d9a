"""How an error reaches the application: as an exception of its HTTP library, or as a response.

SDKs retry every exception of their HTTP library. So errors that may be retried are raised. Those that must
not be (a key, a pin, a replay, a refusal) become a response with ``x-should-retry: false``. Its body has the
form that the SDK of the API reads, and the header ``x-blindrelay-error`` marks it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Final

from blindrelay.client.errors import (
    AlteredResponseError,
    BlindRelayError,
    BridgeError,
    ClosedError,
    CutResponseError,
    ForkError,
    KeyTrustError,
    ProtocolError,
    RelayError,
    RequestError,
    TimedOutError,
    UnreachableError,
)
from blindrelay.client.httpx_compat import Request, as_library_error, response
from blindrelay.client.provider_apis import Api, ErrorShape, api_of_url
from blindrelay.client.sealed_address import with_real_address
from blindrelay.v1.inner_pb2 import ErrorCode
from blindrelay.v1.outer_status import OuterStatus


@dataclass(frozen=True)
class _Raised:
    """Raised as the exception of this name in the HTTP library."""

    name: str


@dataclass(frozen=True)
class _Answered:
    """Turned into a response of this status.

    An SDK may try again only if `retry` is set. If it is not 0, `retry_after` says when, in seconds.
    """

    status: int
    retry: bool = False
    retry_after: int = 0


_Mapped = _Raised | _Answered

PATIENCE: Final = 60
"""Seconds. SDKs wait for no longer, and one that did not wait long enough would be refused again."""

_LIMITED: Final = _Answered(429, retry_after=PATIENCE)
"""A limit of the account. An SDK may try again only if the relay says when, and that is soon."""

_OUTER: Final[dict[OuterStatus | None, _Mapped]] = {
    None: _Raised("ReadError"),
    OuterStatus.REFUSED: _Answered(403),
    OuterStatus.KEY_UNKNOWN: _Answered(502, retry=True),
    OuterStatus.MALFORMED: _Answered(502),
    OuterStatus.UNAUTHENTICATED: _Answered(401),
    OuterStatus.LEASE_UNKNOWN: _Raised("ConnectError"),
    OuterStatus.NOT_IN_SCOPE: _Answered(403),
    OuterStatus.LIMIT_UNITS: _LIMITED,
    OuterStatus.LIMIT_EXCHANGES: _LIMITED,
    OuterStatus.LIMIT_BYTES: _LIMITED,
    OuterStatus.LIMIT_CONCURRENT: _LIMITED,
    OuterStatus.LIMIT_RATE: _LIMITED,
    OuterStatus.IDENTITY_UNKNOWN: _Answered(403),
    OuterStatus.BRIDGE_UNAVAILABLE: _Raised("ConnectError"),
    OuterStatus.DRAINING: _Raised("ConnectError"),
    OuterStatus.LEDGER_UNAVAILABLE: _Answered(503, retry=True),
    OuterStatus.OVERLOADED: _Answered(429, retry=True),
    OuterStatus.DEADLINE: _Raised("ReadTimeout"),
    OuterStatus.INTERNAL: _Raised("ReadError"),
}

_INNER: Final[dict[int, _Mapped]] = {
    ErrorCode.ERROR_CODE_MALFORMED: _Answered(400),
    ErrorCode.ERROR_CODE_NOT_ALLOWED: _Answered(403),
    ErrorCode.ERROR_CODE_STORED_OBJECT: _Answered(400),
    ErrorCode.ERROR_CODE_TOO_LARGE: _Answered(413),
    ErrorCode.ERROR_CODE_DEADLINE: _Raised("ReadTimeout"),
    ErrorCode.ERROR_CODE_OVERLOADED: _Answered(503, retry=True),
    ErrorCode.ERROR_CODE_PROVIDER_UNREACHABLE: _Raised("ConnectError"),
    ErrorCode.ERROR_CODE_PROVIDER_FAILED: _Raised("RemoteProtocolError"),
    ErrorCode.ERROR_CODE_UNSUPPORTED: _Answered(501),
    ErrorCode.ERROR_CODE_DRAINING: _Raised("ConnectError"),
    ErrorCode.ERROR_CODE_PRICE_CHANGED: _Answered(503, retry=True),
    ErrorCode.ERROR_CODE_NO_PRICE: _Answered(403),
    ErrorCode.ERROR_CODE_MAX_UNITS: _Answered(400),
}

_TIMEOUTS: Final = {
    "connect": "ConnectTimeout",
    "directory": "ConnectTimeout",
    "pool": "PoolTimeout",
    "write": "WriteTimeout",
    "first_byte": "ReadTimeout",
    "read": "ReadTimeout",
}


def response_or_raise(error: BlindRelayError, request: Request) -> Any:
    """The response for an error before a response has begun, or raises the error."""
    mapped = _mapped(error)
    if isinstance(mapped, _Raised):
        raise as_library_error(error, request, mapped.name) from None
    headers = {
        "content-type": "application/json",
        "x-blindrelay-error": f"{error.origin}/{error.kind}",
    }
    if mapped.retry_after:
        headers["retry-after"] = str(mapped.retry_after)
    if not mapped.retry:
        headers["x-should-retry"] = "false"
    api = api_of_url(with_real_address(request).url.host, request.url.path)
    body = json.dumps(error_body(error, mapped.status, api)).encode()
    return response(request, mapped.status, [(k.encode(), v.encode()) for k, v in headers.items()], body)


def raised_in_body(error: BlindRelayError, request: Request) -> Exception:
    """The exception for an error while a response's body is read: the response is incomplete."""
    mapped = _mapped(error)
    name = mapped.name if isinstance(mapped, _Raised) else "RemoteProtocolError"
    return as_library_error(error, request, "ReadError" if name == "ConnectError" else name)


def _mapped(error: BlindRelayError) -> _Mapped:
    match error:
        case UnreachableError():
            return _Raised("ConnectError")
        case RelayError():
            return _of_relay(error)
        case BridgeError():
            return _INNER.get(error.code, _Answered(500))
        case TimedOutError():
            return _Raised(_TIMEOUTS[error.what])
        case ClosedError():
            return _Raised("ReadError")
        case CutResponseError() | ProtocolError():
            return _Raised("RemoteProtocolError")
        case AlteredResponseError():
            return _Answered(502)
        case RequestError():
            return _Answered(400)
        case KeyTrustError() | ForkError():
            return _Answered(403)
    return _Answered(500)


def _of_relay(error: RelayError) -> _Mapped:
    mapped, hint = _OUTER[error.status], error.retry_after
    if not hint or not isinstance(mapped, _Answered):
        return mapped
    return replace(mapped, retry=mapped.retry or hint <= PATIENCE, retry_after=hint)


def error_body(error: BlindRelayError, status: int, api: Api) -> dict[str, Any]:
    """An error body that the SDK of this API can read. Each form has the `origin` of the error."""
    kind = f"blindrelay_{error.kind}"
    said = {"message": f"BlindRelay: {error}", "origin": error.origin}
    match api.error_shape:
        case ErrorShape.ANTHROPIC:
            return {"type": "error", "error": {"type": kind, **said, **_details(error)}}
        case ErrorShape.GEMINI:
            return {"error": {"code": status, "status": kind.upper(), **said}}
        case ErrorShape.MISTRAL:
            return {"object": "error", "type": f"{error.origin}_error", "code": kind, "param": None, **said}
        case ErrorShape.COHERE:
            return {"code": kind, **said}
        case ErrorShape.OPENAI:
            return {"error": {"type": f"{error.origin}_error", "code": kind, "param": None, **said}}


def _details(error: BlindRelayError) -> dict[str, Any]:
    """What Anthropic's SDK reads besides the message.

    It may ask the provider to store the conversation (the field `thread`). After an error with these details
    it sends the whole conversation each time instead.
    """
    if isinstance(error, BridgeError) and error.code == ErrorCode.ERROR_CODE_STORED_OBJECT:
        return {"details": {"error_code": "thread_unsupported_request", "unsupported": [error.kind]}}
    return {}
