"""How an exchange ended, as the audit log and the ledger are told: "ok", "cancelled" or an outer status."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc

from blindrelay.serving import CallRefusedError
from blindrelay.v1.outer_status import OuterStatus


@contextmanager
def outcome_told(tell: Callable[[str], None]) -> Iterator[None]:
    """Calls `tell` with the outcome at the end of the block. Its exceptions pass."""
    outcome = "cancelled"
    try:
        yield
        outcome = "ok"
    except CallRefusedError as refusal:
        outcome = refusal.status.details
        raise
    except grpc.aio.BaseError:
        raise  # An operation on the client's call failed: the client is gone.
    except Exception:
        outcome = OuterStatus.INTERNAL.details
        raise
    finally:
        tell(outcome)
