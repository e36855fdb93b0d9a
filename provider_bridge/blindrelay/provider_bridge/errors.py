"""What can go wrong in the bridge, by who is told.

BridgeError
├── UnclaimedError       the exchange could not be opened or claimed: one outer status for every cause
├── DelegationEndedError the delegation to this replica has ended, and no new one is in force
└── SealedError          after the claim: a sealed error, authentic to the client
    ├── RequestError     found before the provider was called
    └── ProviderError    the provider could not be called, or broke off
"""

from __future__ import annotations

from typing import Final

from blindrelay.provider_bridge.upstream.failures import Failure
from blindrelay.v1.inner_pb2 import (
    ERROR_CODE_NOT_ALLOWED,
    ERROR_CODE_OVERLOADED,
    ERROR_CODE_PROVIDER_FAILED,
    ERROR_CODE_PROVIDER_UNREACHABLE,
    ERROR_CODE_TOO_LARGE,
    EXECUTION_NOT_STARTED,
    EXECUTION_STARTED,
    ErrorCode,
    ExchangeError,
    Execution,
)
from blindrelay.v1.limits import MAX_ERROR_MESSAGE
from blindrelay.v1.picklable_error import PicklableError


class BridgeError(PicklableError):
    """The root of this package's errors."""


class UnclaimedError(BridgeError):
    """An exchange could not be opened or claimed. It has no text: the caller must not learn the cause."""


class DelegationEndedError(BridgeError):
    """The delegation to this replica has ended; clients would refuse what it signs."""


class SealedError(BridgeError):
    """Ends an exchange with a sealed error (spec/protocol.md, section 12).

    Attributes:
        code: what is wrong.
        execution: whether the provider may have begun.
    """

    def __init__(self, code: ErrorCode.ValueType, message: str, execution: Execution.ValueType) -> None:
        super().__init__(message)
        self.code = code
        self.execution = execution

    def as_message(self) -> ExchangeError:
        """The message to seal. A text that is too long is cut; it may quote a URL."""
        text = str(self).encode("utf-8", "replace")[:MAX_ERROR_MESSAGE].decode("utf-8", "ignore")
        return ExchangeError(code=self.code, message=text, execution=self.execution)


class RequestError(SealedError):
    """The request is refused, and the provider was not called."""

    def __init__(self, code: ErrorCode.ValueType, message: str) -> None:
        super().__init__(code, message, EXECUTION_NOT_STARTED)


class ProviderError(SealedError):
    """The provider could not be reached, or did not send a complete response.

    Attributes:
        failure: its class, which is counted.
    """

    def __init__(self, failure: Failure, message: str, execution: Execution.ValueType) -> None:
        super().__init__(_CODES.get(failure, ERROR_CODE_PROVIDER_FAILED), message, execution)
        self.failure = failure


def not_allowed(message: str) -> RequestError:
    """The bridge's policy forbids the request."""
    return RequestError(ERROR_CODE_NOT_ALLOWED, message)


def bad_response(message: str) -> ProviderError:
    """The provider's response cannot be passed on."""
    return ProviderError(Failure.BAD_RESPONSE, message, EXECUTION_STARTED)


_CODES: Final = {
    Failure.NO_CONNECTION_FREE: ERROR_CODE_OVERLOADED,
    Failure.TOO_LARGE: ERROR_CODE_TOO_LARGE,
    Failure.NAME_NOT_FOUND: ERROR_CODE_PROVIDER_UNREACHABLE,
    Failure.REFUSED: ERROR_CODE_PROVIDER_UNREACHABLE,
    Failure.UNREACHABLE: ERROR_CODE_PROVIDER_UNREACHABLE,
    Failure.TIMED_OUT: ERROR_CODE_PROVIDER_UNREACHABLE,
    Failure.TLS_CERTIFICATE: ERROR_CODE_PROVIDER_UNREACHABLE,
    Failure.TLS_HANDSHAKE: ERROR_CODE_PROVIDER_UNREACHABLE,
    Failure.PROXY_UNREACHABLE: ERROR_CODE_PROVIDER_UNREACHABLE,
    Failure.PROXY_REFUSED: ERROR_CODE_PROVIDER_UNREACHABLE,
}
