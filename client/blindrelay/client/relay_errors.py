"""The outer statuses of a relay as errors (spec/protocol.md, section 12)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import grpc

from blindrelay.client.errors import RelayError
from blindrelay.v1.grpc_profile import RETRY_AFTER_KEY
from blindrelay.v1.outer_status import OuterStatus


def relay_error(
    code: grpc.StatusCode, details: str | None, trailing: Iterable[tuple[str, str | bytes]] | None = None
) -> RelayError:
    """A gRPC status as an error. A status that the protocol does not list is a lost connection.

    The trailing metadata may have a hint when to try again.
    """
    status = OuterStatus.of(code, details)
    if status is None:
        # Anybody may have written the text of an unknown status, so only the code is repeated.
        return RelayError(f"the relay was lost, or it does not speak this protocol ({code.name.lower()})")
    return RelayError(_SENTENCES[status], status, _retry_after(trailing))


def _retry_after(trailing: Iterable[tuple[str, str | bytes]] | None) -> int:
    """Whole seconds, 0 without a hint. The relay may write anything."""
    hint = next((value for key, value in trailing or () if key == RETRY_AFTER_KEY), "")
    return int(hint) if isinstance(hint, str) and re.fullmatch("[0-9]{1,9}", hint) else 0


_SENTENCES: Final = {
    OuterStatus.REFUSED: "the relay says the bridge refused: a replay, an altered request or a wrong clock",
    OuterStatus.KEY_UNKNOWN: "the relay knows no bridge with the key that this was sealed to",
    OuterStatus.MALFORMED: "the relay says that the exchange is malformed",
    OuterStatus.UNAUTHENTICATED: "the relay does not know this access token: ask its operator for one",
    OuterStatus.LEASE_UNKNOWN: "the relay does not know the lease that it gave: try again",
    OuterStatus.NOT_IN_SCOPE: "the relay does not allow this bridge, address or max_units to this token",
    OuterStatus.LIMIT_UNITS: "the account at the relay has no free units now: ask its operator for more",
    OuterStatus.LIMIT_EXCHANGES: "the account at the relay has no exchanges left in this period",
    OuterStatus.LIMIT_BYTES: "the account at the relay has no bytes left in this period",
    OuterStatus.LIMIT_CONCURRENT: "too many exchanges of the account at the relay are running: try again",
    OuterStatus.LIMIT_RATE: "exchanges of the account at the relay come too fast: try again",
    OuterStatus.IDENTITY_UNKNOWN: "the relay serves no bridge of the pinned identity",
    OuterStatus.BRIDGE_UNAVAILABLE: "the relay could not reach the bridge, or lost it",
    OuterStatus.DRAINING: "the relay or bridge is shutting down",
    OuterStatus.LEDGER_UNAVAILABLE: "the relay cannot use its ledger now, so it starts nothing: try again",
    OuterStatus.OVERLOADED: "the relay has no room for the exchange now",
    OuterStatus.DEADLINE: "the relay says that the time for the exchange is over",
    OuterStatus.INTERNAL: "the relay or bridge failed",
}
