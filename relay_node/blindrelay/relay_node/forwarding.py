"""The two directions of one exchange, as raw bytes (spec/protocol.md, section 7).

No message is decoded and none is kept: the next is read when the one before has been taken, so a slow
reader holds up its sender and not our memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import grpc

from blindrelay.relay_node.line import Call
from blindrelay.relay_node.statuses import status_for_client
from blindrelay.serving import CallRefusedError, Context
from blindrelay.v1.aio_status import StatusWatch
from blindrelay.v1.outer_status import OuterStatus

END_SECONDS: Final = 0.002
"""How long a first message waits for the request's end. With it, it leaves in one piece, which takes a
quarter of the work off an exchange of one record. One that more follow, or a tunnel's, is held up no longer.

A client that breaks off in that time looks as if it had ended its request: the bridge sees the end, and
then that it was broken off. It acts on neither, but on the final record, which is in what arrived or is not.
"""

OpenCall = Callable[[bytes | None], Call]
"""Opens the bridge's call: with all of the request, or, with None, to write its messages to."""


@dataclass(slots=True)
class Tally:
    """What went through one exchange, in bytes."""

    request_bytes: int = 0
    response_bytes: int = 0
    failed: bool = False
    """A fault of our own, on the way up."""


async def forward(first: bytes, context: Context, open_call: OpenCall, tally: Tally) -> OuterStatus | None:
    """Passes `first` and what follows it up, and the answers down, until the bridge ends the call.

    Returns None if it ended with OK, else the status for the client. The bridge's call is over when this
    function is left, whichever way: a cancelled client cancels it.
    """
    tally.request_bytes += len(first)
    upload = following = asyncio.create_task(_next(context))
    try:
        await asyncio.wait((following,), timeout=END_SECONDS)
        if following.done() and following.result() is None:
            call = open_call(first)
        else:
            call = open_call(None)
            upload = asyncio.create_task(_upload(first, following, context, call, tally))
        del first, following
        return await _download(context, call, tally)
    finally:
        upload.cancel()


async def _download(context: Context, call: Call, tally: Tally) -> OuterStatus | None:
    ending = StatusWatch(call)
    try:
        # Iterating, not read(): that forgets what has arrived once a write has failed.
        async for message in call:
            tally.response_bytes += len(message)
            await context.write(message)
    except grpc.aio.AioRpcError as error:
        return status_for_client(*await ending.status(error))
    except asyncio.CancelledError:
        if tally.failed:
            raise CallRefusedError(OuterStatus.INTERNAL) from None
        raise
    finally:
        call.cancel()
    return None


async def _upload(
    first: bytes, following: asyncio.Task[bytes | None], context: Context, call: Any, tally: Tally
) -> None:
    try:
        await call.write(first)
        message = await following
        while message is not None:
            tally.request_bytes += len(message)
            await call.write(message)
            message = await _next(context)
        await _half_closed(context)
        await call.done_writing()
    except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
        return  # One of the two calls has ended already; why, is learnt where the answers are read.
    except Exception:
        tally.failed = True
        call.cancel()


async def _next(context: Context) -> bytes | None:
    """The client's next message; None at their end, or if the call is cancelled."""
    message = await context.read()
    return message if isinstance(message, bytes) else None


async def _half_closed(context: Context) -> None:
    """Returns only if the end of the client's messages was a half-close.

    gRPC reports a cancelled stream as ended, too, and cancels the handler a moment later. A second read
    goes through the same completion queue, behind that news; then the handler's task runs, and cancels ours.
    """
    await context.read()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
