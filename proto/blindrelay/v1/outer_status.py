"""The outer statuses: all that a relay or bridge may say in clear (spec/protocol.md, section 12).

They are unauthenticated and coarse, and their words are constant. Nothing in them depends on sealed content.
"""

from __future__ import annotations

from enum import Enum

import grpc


class OuterStatus(Enum):
    """A gRPC status code with its constant message."""

    REFUSED = (grpc.StatusCode.INVALID_ARGUMENT, "refused")
    """The bridge did not open or claim the exchange, for whatever reason."""
    KEY_UNKNOWN = (grpc.StatusCode.FAILED_PRECONDITION, "key_unknown")
    """The key that the exchange is sealed to is not held here."""
    MALFORMED = (grpc.StatusCode.INVALID_ARGUMENT, "malformed")
    """The relay could not read the envelope."""
    UNAUTHENTICATED = (grpc.StatusCode.UNAUTHENTICATED, "token_unknown")
    """The relay does not know the client's token, or the bridge the relay's."""
    LEASE_UNKNOWN = (grpc.StatusCode.UNAUTHENTICATED, "lease_unknown")
    """The relay does not know the client's lease: it has expired, or is another process's."""
    NOT_IN_SCOPE = (grpc.StatusCode.PERMISSION_DENIED, "not_in_scope")
    """The token is not for this bridge, service class, address or size of an exchange."""
    IDENTITY_UNKNOWN = (grpc.StatusCode.NOT_FOUND, "identity_unknown")
    """The relay serves no bridge with that identity."""
    BRIDGE_UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, "bridge_unavailable")
    """The relay could not reach the bridge, or lost it."""
    DRAINING = (grpc.StatusCode.UNAVAILABLE, "draining")
    """The relay or bridge is shutting down."""
    LIMIT_UNITS = (grpc.StatusCode.RESOURCE_EXHAUSTED, "limit_units")
    """What the account has, or may spend in this period, is spent, or may be by what is running."""
    LIMIT_EXCHANGES = (grpc.StatusCode.RESOURCE_EXHAUSTED, "limit_exchanges")
    """The account's exchanges of this period are used up."""
    LIMIT_BYTES = (grpc.StatusCode.RESOURCE_EXHAUSTED, "limit_bytes")
    """The account's bytes of this period are used up."""
    LIMIT_CONCURRENT = (grpc.StatusCode.RESOURCE_EXHAUSTED, "limit_concurrent")
    """As many exchanges of the account are running as may."""
    LIMIT_RATE = (grpc.StatusCode.RESOURCE_EXHAUSTED, "limit_rate")
    """The account's exchanges come too fast."""
    LEDGER_UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, "ledger_unavailable")
    """The relay's ledger is silent, or cannot use its books: nothing new starts."""
    OVERLOADED = (grpc.StatusCode.RESOURCE_EXHAUSTED, "overloaded")
    """A limit has been reached. Try again later."""
    DEADLINE = (grpc.StatusCode.DEADLINE_EXCEEDED, "deadline")
    """The call took too long."""
    INTERNAL = (grpc.StatusCode.INTERNAL, "internal")
    """A fault of the relay or bridge."""

    @property
    def code(self) -> grpc.StatusCode:
        return self.value[0]

    @property
    def details(self) -> str:
        return self.value[1]

    @classmethod
    def of(cls, code: grpc.StatusCode, details: str | None) -> OuterStatus | None:
        """The status with exactly this code and message, or None."""
        return next((status for status in cls if status.value == (code, details)), None)
