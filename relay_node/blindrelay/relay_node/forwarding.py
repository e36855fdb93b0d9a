"""The two directions of one exchange, as raw bytes (spec/protocol.md, section 7).

No message is decoded and none is kept: the next is read when the one before has been taken, so a slow
reader holds up its sender and not our memory.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import grpc

from blindrelay.relay_node.line import Call
from blindrelay.relay_node.statuses import status_for_client
from blindrelay.serving import CallRefusedError, Context
from blindrelay.v1.aio_status import StatusWatch
from blindrelay.v1.outer_status import OuterStatus


@dataclass(slots=True)
class Tally:
    """What went through one exchange, in bytes."""

    request_bytes: int = 0
    response_bytes: int = 0
    failed: bool = False
    """A fault of our own, on the way up."""


async def forward(first: bytes, context: Context, call: Call, tally: Tally) -> OuterStatus | None:
    """Passes `first` and what follows it up, and the answers down, until the bridge ends the call.

    Returns None if it ended with OK, else the status for the client. The bridge's call is over when this
    function is left, whichever way: a cancelled client cancels it.
    """
    upload = asyncio.create_task(_upload(first, context, call, tally))
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
        upload.cancel()
        call.cancel()
    return None


async def _upload(first: bytes, context: Context, call: Call, tally: Tally) -> None:
    message: object = first
    try:
        while isinstance(message, bytes):
            tally.request_bytes += len(message)
            await call.write(message)
            message = await context.read()
        await _half_closed(context)
        await call.done_writing()
    except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
        return  # One of the two calls has ended already; why, is learnt where the answers are read.
    except Exception:
        tally.failed = True
        call.cancel()


async def _half_closed(context: Context) -> None:
    """Returns only if the end of the client's messages was a half-close.

    gRPC reports a cancelled stream as ended, too, and cancels the handler a moment later. A second read
    goes through the same completion queue, behind that news; then the handler's task runs, and cancels ours.
    """
    await context.read()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
