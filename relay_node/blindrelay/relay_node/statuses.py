"""The outer status that a client gets for a bridge's status (spec/protocol.md, section 12)."""

from __future__ import annotations

from typing import Final

import grpc

from blindrelay.v1.outer_status import OuterStatus

_BY_CODE: Final = {
    grpc.StatusCode.UNAVAILABLE: OuterStatus.BRIDGE_UNAVAILABLE,
    # The bridge cancelled the call. If the client had cancelled it, there would be no status to send.
    grpc.StatusCode.CANCELLED: OuterStatus.BRIDGE_UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: OuterStatus.DEADLINE,
}

_REPLICA_CHANGED: Final = frozenset(
    {OuterStatus.BRIDGE_UNAVAILABLE, OuterStatus.DRAINING, OuterStatus.KEY_UNKNOWN}
)


_OF_RELAYS: Final = frozenset(
    {
        OuterStatus.LEASE_UNKNOWN,
        OuterStatus.NOT_IN_SCOPE,
        OuterStatus.LIMIT_UNITS,
        OuterStatus.LIMIT_EXCHANGES,
        OuterStatus.LEDGER_UNAVAILABLE,
    }
    | {OuterStatus.LIMIT_BYTES, OuterStatus.LIMIT_CONCURRENT, OuterStatus.LIMIT_RATE}
)
"""About a client's account, which a bridge knows nothing of."""


def status_for_client(code: grpc.StatusCode, details: str | None) -> OuterStatus | None:
    """The bridge's status if it is exactly one of the list, else the nearest one. None for OK."""
    if code is grpc.StatusCode.OK:
        return None
    status = OuterStatus.of(code, details)
    if status is OuterStatus.UNAUTHENTICATED:
        # The bridge does not know the relay's token. The client's token is valid.
        return OuterStatus.BRIDGE_UNAVAILABLE
    if status in _OF_RELAYS:
        return OuterStatus.INTERNAL
    return status or _BY_CODE.get(code, OuterStatus.INTERNAL)


def replica_changed(status: OuterStatus) -> bool:
    """Whether the status means that the known directory may be out of date."""
    return status in _REPLICA_CHANGED
