"""Wrappers of every gRPC handler, so that no status leaves in clear except those of the closed list."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn, TypeVar

import grpc

from blindrelay.serving.errors import CallRefusedError
from blindrelay.serving.options import MAX_METADATA_SIZE
from blindrelay.v1.grpc_profile import RETRY_AFTER_KEY
from blindrelay.v1.limits import FIRST_MESSAGE_SECONDS
from blindrelay.v1.outer_status import OuterStatus

UNREAD_SECONDS: Final = 60
"""Seconds for a peer to read a message of at most 128 KiB: 18 kbit/s. One that reads none occupies memory."""

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]
"""The context of a call whose messages are raw bytes."""

Handler = Callable[[Any, Context], Awaitable[T]]


def guarded(handler: Handler[T], on_fault: Callable[[], None] = lambda: None) -> Handler[T]:
    """The handler, with its exceptions converted to outer statuses (spec/protocol.md, section 12).

    CallRefusedError ends the call with its status, and its hint when to try again. gRPC would send the class
    and text of any other exception to the peer. So it becomes INTERNAL with its constant message, and
    `on_fault` is called without the exception. Metadata over MAX_METADATA_SIZE is refused as MALFORMED.
    Cancellation passes.
    """

    @functools.wraps(handler)
    async def run(request: Any, context: Context) -> T:
        retry_after = 0
        try:
            _check_metadata(context)
            return await handler(request, context)
        except CallRefusedError as refusal:
            status, retry_after = refusal.status, refusal.retry_after
        except (grpc.aio.InternalError, grpc.aio.UsageError):
            # An operation on the call failed: the peer is gone, which is not an internal error.
            status = OuterStatus.INTERNAL
        except grpc.aio.BaseError:
            # An abort that has been sent, or the end of the server. gRPC adds no text to these.
            raise
        except Exception:
            on_fault()
            status = OuterStatus.INTERNAL
        return await _end(context, status, retry_after)

    return run


async def _end(context: Context, status: OuterStatus, retry_after: int) -> NoReturn:
    hint = ((RETRY_AFTER_KEY, str(retry_after)),) if retry_after else ()
    try:
        await context.abort(status.code, status.details, trailing_metadata=hint)
    except grpc.aio.InternalError:
        # gRPC accepts no status while the peer has a message to read.
        raise asyncio.CancelledError from None


def _check_metadata(context: Context) -> None:
    """gRPC's own limit holds only for peers that have acknowledged it. Others may send 16 MiB."""
    if sum(len(key) + len(value) for key, value in context.invocation_metadata() or ()) > MAX_METADATA_SIZE:
        raise CallRefusedError(OuterStatus.MALFORMED)


async def first_message(context: Context, seconds: float = FIRST_MESSAGE_SECONDS) -> bytes:
    """The first message of a call. Handlers of unary calls are registered as streaming, and call this too.

    gRPC reads the message of a unary call before it runs the handler, and waits as long as that takes. So
    anybody could send half a message and occupy memory before a token is checked. On the wire, unary and
    streaming calls are the same. Raises CallRefusedError: DEADLINE, or MALFORMED if no message comes.
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
    """Writes one message of the response. If the peer does not read it in time, calls `give_up`.

    gRPC can neither take the message back nor reset the stream. So the call goes on, and is counted, until
    the peer is gone or reads the message. Then CallRefusedError is raised: DEADLINE. Unary calls use this
    too: gRPC would send a returned response after the call has stopped being counted.
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
