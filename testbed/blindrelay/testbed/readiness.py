"""Whether a relay reaches its bridges."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from blindrelay.testbed.errors import PartNotReadyError
from blindrelay.testbed.processes import PartProcess

READY_SECONDS: Final = 60.0
"""How long relay and bridges may take to find each other."""

_LOOK_SECONDS: Final = 0.02


def listed_replicas(relay: str, token: str) -> int:
    """How many bridges the relay at this address lists. 0 if it cannot be called."""
    # Relays of the testbed import this package first, and set variables that gRPC reads when it is imported.
    import grpc

    from blindrelay.serving import authorization
    from blindrelay.v1.exchange_pb2 import GetKeyDirectoryRequest
    from blindrelay.v1.exchange_pb2_grpc import ExchangeServiceStub

    with grpc.insecure_channel(relay) as channel:
        try:
            response = ExchangeServiceStub(channel).GetKeyDirectory(
                GetKeyDirectoryRequest(), metadata=(authorization(token),), timeout=5
            )
        except grpc.RpcError:
            return 0
    return len(response.directories)


def wait_until_ready(
    is_ready: Callable[[], bool], parts: Iterable[PartProcess], said: Callable[[], str]
) -> None:
    """Waits for READY_SECONDS. Raises PartNotReadyError with what `said` returns, and PartDiedError."""
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready():
        for part in parts:
            part.check()
        if time.monotonic() > deadline:
            raise PartNotReadyError(f"the relay does not reach its bridges; it said:\n{said().strip()}")
        time.sleep(_LOOK_SECONDS)
