"""The outer statuses: all that a relay or bridge may say in clear (spec/protocol.md, section 12).

Unauthenticated, coarse, and the same words every time: nothing in them depends on what was sealed.
"""

from __future__ import annotations

from enum import Enum

import grpc


class OuterStatus(Enum):
    """A gRPC status code with its constant message."""

    REFUSED = (grpc.StatusCode.INVALID_ARGUMENT, "refused")
    """The bridge did not open or claim the exchange, whatever the reason."""
    KEY_UNKNOWN = (grpc.StatusCode.FAILED_PRECONDITION, "key_unknown")
    """Nobody here holds the key that the exchange is sealed to."""
    MALFORMED = (grpc.StatusCode.INVALID_ARGUMENT, "malformed")
    """The relay could not read the envelope."""
    UNAUTHENTICATED = (grpc.StatusCode.UNAUTHENTICATED, "token_unknown")
    """The relay, or a bridge towards a relay, does not know the token."""
    IDENTITY_UNKNOWN = (grpc.StatusCode.NOT_FOUND, "identity_unknown")
    """The relay serves no bridge of that identity."""
    BRIDGE_UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, "bridge_unavailable")
    """The relay could not reach the bridge, or lost it."""
    DRAINING = (grpc.StatusCode.UNAVAILABLE, "draining")
    """The relay or bridge is shutting down."""
    OVERLOADED = (grpc.StatusCode.RESOURCE_EXHAUSTED, "overloaded")
    """No room now."""
    DEADLINE = (grpc.StatusCode.DEADLINE_EXCEEDED, "deadline")
    """The call's time is used up."""
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
        """The status that says exactly this, or None if it is not on the list."""
        return next((status for status in cls if status.value == (code, details)), None)
