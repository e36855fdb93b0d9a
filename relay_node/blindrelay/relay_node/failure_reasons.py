"""Why a bridge's directory could not be fetched: gRPC's errors as reasons of a closed list."""

from __future__ import annotations

import re
from typing import Final

import grpc

from blindrelay.relay_node.audit_log import Reason
from blindrelay.v1.outer_status import OuterStatus

_BY_STATUS: Final = {
    OuterStatus.UNAUTHENTICATED: Reason.TOKEN,
    OuterStatus.DRAINING: Reason.DRAINING,
    OuterStatus.BRIDGE_UNAVAILABLE: Reason.UNAVAILABLE,
}

_BY_TEXT: Final = (
    # gRPC has one status for all of these, and only its text tells them apart. The text is never shown.
    (re.compile("^errors resolving|DNS resolution failed|address lookup failed"), Reason.NAME),
    (re.compile("(?i)(tls|ssl) handshake|verification check failed|handshaker"), Reason.TLS),
    (re.compile("Connection refused"), Reason.REFUSED),
    (re.compile("(?i)http1|SETTINGS frame"), Reason.OTHER),
    (re.compile("(?i)socket closed|connection reset|end of file|broken pipe|goaway"), Reason.CLOSED),
)


def reason_of(error: grpc.aio.AioRpcError) -> Reason:
    """The reason that fits best."""
    code, details = error.code(), error.details() or ""
    status = OuterStatus.of(code, details)
    if status is not None:
        return _BY_STATUS.get(status, Reason.OTHER)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return Reason.TOKEN
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Reason.SILENT
    if code is grpc.StatusCode.UNAVAILABLE:
        return next((reason for text, reason in _BY_TEXT if text.search(details)), Reason.UNREACHABLE)
    return Reason.OTHER
