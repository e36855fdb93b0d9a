"""What stands around every gRPC handler, so that nothing leaves in clear but the closed list of statuses."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc

from blindrelay.serving.errors import CallRefusedError
from blindrelay.serving.options import MAX_METADATA_SIZE
from blindrelay.v1.limits import FIRST_MESSAGE_SECONDS
from blindrelay.v1.outer_status import OuterStatus

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]
"""Of a call whose messages are raw bytes."""

Handler = Callable[[Any, Context], Awaitable[T]]


def guarded(handler: Handler[T], on_fault: Callable[[], None] = lambda: None) -> Handler[T]:
    """The handler, with its exceptions turned into outer statuses (spec/protocol.md, section 12).

    CallRefusedError ends the call with the status it names. Any other exception would leave as gRPC details
    with its class and text: it becomes INTERNAL with its constant message, and `on_fault` is told that it
    happened, and not what. Cancellation passes. Metadata beyond MAX_METADATA_SIZE is refused as MALFORMED.
    """

    @functools.wraps(handler)
    async def run(request: Any, context: Context) -> T:
        try:
            _check_metadata(context)
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


def _check_metadata(context: Context) -> None:
    """gRPC's own limit holds only for peers that have acknowledged it; others get 16 MiB past it."""
    if sum(len(key) + len(value) for key, value in context.invocation_metadata() or ()) > MAX_METADATA_SIZE:
        raise CallRefusedError(OuterStatus.MALFORMED)


async def first_message(context: Context, seconds: float = FIRST_MESSAGE_SECONDS) -> bytes:
    """The first message of a call; the only one of a unary call, whose handler is registered as streaming.

    gRPC reads a unary call's message before its handler runs, for as long as it takes: half of one, sent by
    anybody, would hold its memory before a token is asked for. On the wire the two are the same. Raises
    CallRefusedError: DEADLINE, or MALFORMED if there is none.
    """
    try:
        async with asyncio.timeout(seconds):
            message = await context.read()
    except TimeoutError:
        raise CallRefusedError(OuterStatus.DEADLINE) from None
    if not isinstance(message, bytes):
        raise CallRefusedError(OuterStatus.MALFORMED)
    return message
