"""What httpx and httpcore raise, as a ProviderError: the one edge where their exceptions become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpcore
import httpx

from blindrelay.provider_bridge.errors import ProviderError
from blindrelay.v1.inner_pb2 import (
    ERROR_CODE_OVERLOADED,
    ERROR_CODE_PROVIDER_FAILED,
    ERROR_CODE_PROVIDER_UNREACHABLE,
    EXECUTION_NOT_STARTED,
    EXECUTION_STARTED,
    Execution,
)


@contextmanager
def foreign_errors(execution: Execution.ValueType, otherwise: str) -> Iterator[None]:
    """Raises ProviderError for what goes wrong with the provider in the block.

    Only where no connection was made it is certain that nothing was started.
    """
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout):
        raise ProviderError(
            ERROR_CODE_PROVIDER_UNREACHABLE, "the provider could not be reached", EXECUTION_NOT_STARTED
        ) from None
    except httpx.PoolTimeout:
        raise ProviderError(
            ERROR_CODE_OVERLOADED, "all of the bridge's connections are in use", EXECUTION_NOT_STARTED
        ) from None
    except (httpx.HTTPError, httpcore.NetworkError, httpcore.TimeoutException, OSError):
        raise failed(otherwise, execution) from None


def failed(message: str, execution: Execution.ValueType = EXECUTION_STARTED) -> ProviderError:
    """The provider was reached, and what came of it is of no use."""
    return ProviderError(ERROR_CODE_PROVIDER_FAILED, message, execution)
