"""What stands around every gRPC handler, so that nothing leaves in clear but the closed list of statuses."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn, TypeVar

import grpc

from blindrelay.serving.errors import CallRefusedError
from blindrelay.serving.options import MAX_METADATA_SIZE
from blindrelay.v1.limits import FIRST_MESSAGE_SECONDS
from blindrelay.v1.outer_status import OuterStatus

UNREAD_SECONDS: Final = 60
"""For a peer to take one message, of 128 KiB at most: 18 kbit/s. A peer that takes none holds our memory."""

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]
"""Of a call whose messages are raw bytes."""

Handler = Callable[[Any, Context], Awaitable[T]]


def guarded(handler: Handler[T], on_fault: Callable[[], None] = lambda: None) -> Handler[T]:
    """The handler, with its exceptions turned into outer statuses (spec/protocol.md, section 12).

    CallRefusedError ends the call with the status it names. Any other exception would leave as gRPC details
    with its class and text: it becomes INTERNAL with its constant message, and `on_fault` is told that it
    happened, and not what. Metadata beyond MAX_METADATA_SIZE is refused as MALFORMED. Cancellation
    passes.
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
        return await _end(context, status)

    return run


async def _end(context: Context, status: OuterStatus) -> NoReturn:
    try:
        await context.abort(status.code, status.details)
    except grpc.aio.InternalError:
        # Behind a message that the peer does not take, gRPC takes no status.
        raise asyncio.CancelledError from None


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


async def write_in_time(
    context: Context,
    message: Any,
    seconds: float = UNREAD_SECONDS,
    give_up: Callable[[], object] = lambda: None,
) -> None:
    """Writes one message of the response. If the peer does not take it in time, `give_up` is called.

    gRPC cannot take back what it was given, nor reset the stream. So the call remains, and is counted, until
    the peer is gone or takes the message; then CallRefusedError is raised: DEADLINE. The only message of a
    unary call is written so as well: what a handler returns would wait without being counted.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    timer = loop.call_at(end, give_up)
    try:
        await context.write(message)
    finally:
        timer.cancel()
    if loop.time() >= end:
        raise CallRefusedError(OuterStatus.DEADLINE)
