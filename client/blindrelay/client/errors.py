"""What can go wrong in the client, by who is at fault.

::

    BlindRelayError
    ├── ConfigurationError    the connection string, profile or environment is wrong
    ├── ClosedError           the client was closed in the middle of the exchange
    ├── ForkError             this process was forked while its parent was using gRPC
    ├── UnsupportedRuntimeError  gRPC cannot run under this concurrency library
    ├── RequestError          the request cannot be sealed
    ├── KeyTrustError         no key that the pinned bridge vouches for: nothing was sent
    ├── RelayError            the relay refused, failed or was lost (unauthenticated: a hint)
    │   └── UnreachableError  no connection to the relay: nothing was sent
    ├── BridgeError           the bridge refused or failed (sealed: authentic)
    ├── ProtocolError         the bridge sealed something that the protocol does not allow
    ├── AlteredResponseError  the response is not what the bridge sealed
    ├── CutResponseError      the response is incomplete
    └── TimedOutError         one of the request's time limits passed

When an error reaches the application, it is also an exception of its HTTP library (``httpx.ConnectError``,
``httpx2.ReadTimeout``, …). SDKs handle it like their library's own exceptions.
"""

from __future__ import annotations

from blindrelay.v1.inner_pb2 import ErrorCode, ExchangeError, Execution
from blindrelay.v1.outer_status import OuterStatus
from blindrelay.v1.picklable_error import PicklableError

__all__ = [
    "AlteredResponseError",
    "BlindRelayError",
    "BridgeError",
    "ClosedError",
    "ConfigurationError",
    "CutResponseError",
    "ForkError",
    "KeyTrustError",
    "ProtocolError",
    "RelayError",
    "RequestError",
    "TimedOutError",
    "UnreachableError",
    "UnsupportedRuntimeError",
]


class BlindRelayError(PicklableError):
    """The root of the client's errors."""

    origin = "client"
    """Who failed, as far as the client can know: client, relay or bridge."""
    kind = "error"
    """One word for programs."""


class ConfigurationError(BlindRelayError):
    """The connection string, profile or environment is missing or wrong."""

    kind = "configuration"


class ClosedError(BlindRelayError):
    """The client was closed in the middle of the exchange."""

    kind = "closed"

    def __init__(self) -> None:
        super().__init__("the client was closed in the middle of the exchange")


class ForkError(BlindRelayError):
    """gRPC's asyncio engine does not survive a fork while it is in use."""

    kind = "fork"

    def __init__(self) -> None:
        super().__init__(
            "this process was forked while its parent had a gRPC connection in use: close the parent's "
            "clients before the fork, or start processes with multiprocessing's 'spawn' method"
        )


class UnsupportedRuntimeError(BlindRelayError):
    """gRPC's asyncio engine cannot run under this concurrency library."""

    kind = "unsupported_runtime"

    def __init__(self, runtime: str) -> None:
        super().__init__(
            f"BlindRelay cannot run under {runtime}: use asyncio, trio or threads, or start "
            "`blindrelay proxy` and send to its local endpoint"
        )


class RequestError(BlindRelayError):
    """The request cannot be sealed."""

    kind = "request"


class KeyTrustError(BlindRelayError):
    """The relay served no key directory that the pinned bridge vouches for. Nothing was sent."""

    kind = "key_trust"


class RelayError(BlindRelayError):
    """The relay refused, failed or was lost. This is not authenticated: it is a hint.

    Attributes:
        status: what the relay sent, if the protocol lists it.
        retry_after: seconds until another attempt may succeed, as the relay says; 0 if it does not say.
    """

    origin = "relay"

    def __init__(self, message: str, status: OuterStatus | None = None, retry_after: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.kind = status.details if status is not None else "relay_lost"


class UnreachableError(RelayError):
    """No connection to the relay. Nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.kind = "relay_unreachable"


class BridgeError(BlindRelayError):
    """The bridge refused the exchange or failed. It sealed this error itself.

    Attributes:
        code: an ErrorCode; INTERNAL for an unknown number.
        execution: an Execution, whether the provider may have begun the work; UNKNOWN for an unknown number.
    """

    origin = "bridge"

    def __init__(self, error: ExchangeError) -> None:
        super().__init__(f"the bridge answered: {error.message}")
        # How to read 0 and the numbers of a later version: spec/protocol.md, section 10.3.
        known_code = error.code in ErrorCode.values()[1:]
        self.code = error.code if known_code else ErrorCode.ERROR_CODE_INTERNAL
        known_execution = error.execution in Execution.values()[1:]
        self.execution = error.execution if known_execution else Execution.EXECUTION_UNKNOWN
        self.kind = ErrorCode.Name(self.code).removeprefix("ERROR_CODE_").lower()

    @property
    def not_started(self) -> bool:
        """Whether the provider has certainly not begun the work."""
        return self.execution == Execution.EXECUTION_NOT_STARTED


class ProtocolError(BlindRelayError):
    """The bridge broke the protocol: it is faulty or has another version."""

    origin = "bridge"
    kind = "protocol"


class AlteredResponseError(BlindRelayError):
    """The response was altered on its way, or did not come from the bridge."""

    origin = "relay"
    kind = "altered"

    def __init__(self) -> None:
        super().__init__(
            "the response did not open: it was altered on its way, or does not come from the bridge"
        )


class CutResponseError(BlindRelayError):
    """The response is incomplete."""

    origin = "relay"
    kind = "cut"


class TimedOutError(BlindRelayError):
    """A time limit passed.

    Attributes:
        what: connect, directory (the key directories), pool, write, first_byte or read (between records).
    """

    kind = "timeout"

    def __init__(self, what: str, seconds: float, hint: str = "") -> None:
        sentence = {
            "connect": "no connection to the relay",
            "directory": "no key directory from the relay",
            "pool": "too many exchanges are running, and none ended",
            "write": "the relay took no data",
            "first_byte": "the response did not begin",
            "read": "nothing more came back",
        }[what]
        super().__init__(f"{sentence} within {seconds:g} seconds{hint}")
        self.what = what
