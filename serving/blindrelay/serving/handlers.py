"""What stands around every gRPC handler, so that nothing leaves in clear but the closed list of statuses."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc

from blindrelay.serving.errors import CallRefusedError
from blindrelay.v1.outer_status import OuterStatus

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]
"""Of a call whose messages are raw bytes."""

Handler = Callable[[Any, Context], Awaitable[T]]


def guarded(handler: Handler[T], on_fault: Callable[[], None] = lambda: None) -> Handler[T]:
    """The handler, with its exceptions turned into outer statuses (spec/protocol.md, section 12).

    CallRefusedError ends the call with the status it names. Any other exception would leave as gRPC details
    with its class and text: it becomes INTERNAL with its constant message, and `on_fault` is told that it
    happened, and not what. Cancellation passes.
    """

    @functools.wraps(handler)
    async def run(request: Any, context: Context) -> T:
        try:
            return await handler(request, context)
        except CallRefusedError as refusal:
            status = refusal.status
        except (grpc.aio.InternalError, grpc.aio.UsageError):
            # An operation on the call failed: the peer is gone, which is nobody's fault.
            status = OuterStatus.INTERNAL
        except grpc.aio.BaseError:
            # An abort that has been sent, or the server's own end; gRPC adds no text to these.
            raise
        except Exception:
            on_fault()
            status = OuterStatus.INTERNAL
        return await context.abort(status.code, status.details)

    return run
