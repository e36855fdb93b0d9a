"""The two directions of one exchange, as raw bytes (spec/protocol.md, section 7).

No message is decoded and none is kept: of either direction one is on its way, so a slow reader holds up its
sender and not our memory.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import grpc

from blindrelay.relay_node.statuses import status_for_client
from blindrelay.serving import CallRefusedError, Context, Share, write_in_time
from blindrelay.v1.aio_status import StatusWatch
from blindrelay.v1.exchange_call import ExchangeCall
from blindrelay.v1.outer_status import OuterStatus


@dataclass(slots=True)
class Tally:
    """What went through one exchange, in bytes."""

    request_bytes: int = 0
    response_bytes: int = 0
    refusal: OuterStatus | None = None
    """Why we ended the exchange, on the way up."""


async def forward(
    first: bytes, context: Context, call: ExchangeCall, held: Share, unread_seconds: float, tally: Tally
) -> OuterStatus | None:
    """Passes `first` and what follows it up, and the response down, until the bridge ends the call.

    `held` counts the bytes that the bridge may have to keep: all after `first` that it has not responded to.
    Returns None if the call ended with OK, else the status for the client. The bridge's call is over when
    this function is left, whichever way: a cancelled client cancels it. Raises CallRefusedError: OVERLOADED
    if there is no room for the request, DEADLINE if the client takes no message for `unread_seconds`.
    """
    uploading = asyncio.create_task(_upload(first, context, call, held, tally))
    del first
    try:
        return await _download(context, call, held, unread_seconds, tally)
    finally:
        uploading.cancel()


async def _download(
    context: Context, call: ExchangeCall, held: Share, unread_seconds: float, tally: Tally
) -> OuterStatus | None:
    ending = StatusWatch(call)
    try:
        # Iterating, not read(): that forgets what has arrived once a write has failed.
        async for message in call:
            tally.response_bytes += len(message)
            held.release()
            await write_in_time(context, message, unread_seconds, call.cancel)
    except grpc.aio.AioRpcError as error:
        return status_for_client(*await ending.status(error))
    except asyncio.CancelledError:
        if tally.refusal is not None:
            raise CallRefusedError(tally.refusal) from None
        raise
    finally:
        call.cancel()
    return None


async def _upload(first: bytes, context: Context, call: Any, held: Share, tally: Tally) -> None:
    message: object = first
    del first
    try:
        while isinstance(message, bytes):
            if tally.request_bytes:
                held.add(len(message))
            tally.request_bytes += len(message)
            await call.write(message)
            message = None  # not kept while the client says nothing
            message = await context.read()
        await _half_closed(context)
        await call.done_writing()
    except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
        return  # One of the two calls has ended already; why, is learnt where the response is read.
    except CallRefusedError as refusal:
        tally.refusal = refusal.status
        call.cancel()
    except Exception:
        tally.refusal = OuterStatus.INTERNAL
        call.cancel()


async def _half_closed(context: Context) -> None:
    """Returns, but for a rare race, only if the end of the client's messages was a half-close.

    gRPC reports a cancelled stream as ended, too, and cancels the handler a moment later. A second read
    goes through the same completion queue, behind that news; then the handler's task runs, and cancels ours.
    """
    await context.read()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
