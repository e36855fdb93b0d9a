"""What a client hears of a bridge's status: one of the closed list, in our own words (spec, section 12)."""

from __future__ import annotations

from typing import Final

import grpc

from blindrelay.v1.outer_status import OuterStatus

_BY_CODE: Final = {
    grpc.StatusCode.UNAVAILABLE: OuterStatus.BRIDGE_UNAVAILABLE,
    # The bridge's process broke the call off; the client did not, or nobody would be told.
    grpc.StatusCode.CANCELLED: OuterStatus.BRIDGE_UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: OuterStatus.DEADLINE,
}

_REPLICA_CHANGED: Final = frozenset(
    {OuterStatus.BRIDGE_UNAVAILABLE, OuterStatus.DRAINING, OuterStatus.KEY_UNKNOWN}
)


def status_for_client(code: grpc.StatusCode, details: str | None) -> OuterStatus | None:
    """The bridge's status if it is exactly on the list, else the nearest of ours; None for OK."""
    if code is grpc.StatusCode.OK:
        return None
    status = OuterStatus.of(code, details)
    if status is OuterStatus.UNAUTHENTICATED:
        # It is our token that the bridge does not know; the client's is good.
        return OuterStatus.BRIDGE_UNAVAILABLE
    return status or _BY_CODE.get(code, OuterStatus.INTERNAL)


def replica_changed(status: OuterStatus) -> bool:
    """Whether the status means that the directory at hand may not be the replica's present one."""
    return status in _REPLICA_CHANGED
