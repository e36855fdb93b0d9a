"""What can go wrong between bridge and provider: a closed list, counted by name."""

from __future__ import annotations

from enum import Enum

from blindrelay.v1.picklable_error import PicklableError


class Failure(Enum):
    """A class of failures. The value is its name in the log and in the metrics."""

    NAME_NOT_FOUND = "name_not_found"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    STALLED = "stalled"
    SILENT = "silent"
    TLS_CERTIFICATE = "tls_certificate"
    TLS_HANDSHAKE = "tls_handshake"
    PROXY_UNREACHABLE = "proxy_unreachable"
    PROXY_REFUSED = "proxy_refused"
    NO_CONNECTION_FREE = "no_connection_free"
    NO_RESPONSE = "no_response"
    NOT_HTTP = "not_http"
    BAD_RESPONSE = "bad_response"
    BAD_WEBSOCKET = "bad_websocket"
    TOO_LARGE = "too_large"
    CUT = "cut"


class UpstreamError(PicklableError):
    """The connection to the provider failed. The text names no address.

    Attributes:
        failure: its class.
        sent: whether the provider may have received a part of the request.
    """

    def __init__(self, failure: Failure, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.failure = failure
        self.sent = sent


def unreachable(failure: Failure, reason: str) -> UpstreamError:
    """No connection: nothing has been sent."""
    return UpstreamError(failure, f"the provider could not be reached: {reason}")
