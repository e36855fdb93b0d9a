"""Forwards both directions of one exchange as raw bytes (spec/protocol.md, section 7).

No message is decoded or kept. In each direction one message is in memory at a time, so a slow reader slows
its sender down and does not fill the relay's memory.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import grpc

from blindrelay.relay_node.statuses import status_for_client
from blindrelay.serving import CallRefusedError, Context, Share, write_in_time
from blindrelay.v1.channel import ExchangeCall
from blindrelay.v1.grpc_workarounds import StatusWatch, confirm_half_close
from blindrelay.v1.outer_status import OuterStatus


@dataclass(slots=True)
class Tally:
    """The bytes that one exchange has forwarded."""

    request_bytes: int = 0
    response_bytes: int = 0
    refusal: OuterStatus | None = None
    """Why the relay itself ended the exchange while it forwarded the request."""


async def forward(
    first: bytes, context: Context, call: ExchangeCall, share: Share, unread_seconds: float, tally: Tally
) -> OuterStatus | None:
    """Forwards the request, which begins with `first`, and the response, until the bridge ends the call.

    Returns None if the call ended with OK, else the status for the client. The bridge's call is over when
    this function returns or raises, so a cancelled client cancels it. `share` counts the bytes that the
    bridge may have to keep: all after `first`, until it responds.

    Raises CallRefusedError: OVERLOADED if the request exceeds its share, DEADLINE if the client does not read
    a message for `unread_seconds`, INTERNAL if forwarding the request failed.
    """
    uploading = asyncio.create_task(_upload(first, context, call, share, tally))
    del first
    try:
        return await _download(context, call, share, unread_seconds, tally)
    finally:
        uploading.cancel()


async def _download(
    context: Context, call: ExchangeCall, share: Share, unread_seconds: float, tally: Tally
) -> OuterStatus | None:
    watch = StatusWatch(call)
    try:
        # Iteration, not read(), which loses messages after a failed write (see StatusWatch).
        async for message in call:
            tally.response_bytes += len(message)
            share.release()
            await write_in_time(context, message, unread_seconds, call.cancel)
    except grpc.aio.AioRpcError as error:
        return status_for_client(*await watch.status(error))
    except asyncio.CancelledError:
        if tally.refusal is not None:
            raise CallRefusedError(tally.refusal) from None
        raise
    finally:
        call.cancel()
    return None


async def _upload(first: bytes, context: Context, call: Any, share: Share, tally: Tally) -> None:
    message: object = first
    del first
    try:
        while isinstance(message, bytes):
            if tally.request_bytes:
                share.add(len(message))
            tally.request_bytes += len(message)
            await call.write(message)
            message = None  # not kept while waiting for the client
            message = await context.read()
        await confirm_half_close(context)
        await call.done_writing()
    except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
        return  # One of the two calls has ended already. _download learns why.
    except CallRefusedError as refusal:
        tally.refusal = refusal.status
        call.cancel()
    except Exception:
        tally.refusal = OuterStatus.INTERNAL
        call.cancel()
