"""The two directions of one exchange, as raw bytes (spec/protocol.md, section 7).

No message is decoded and none is kept: of either direction one is on its way, and of the client's one more is
read ahead, so a slow reader holds up its sender and not our memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import grpc

from blindrelay.relay_node.statuses import status_for_client
from blindrelay.serving import CallRefusedError, Context
from blindrelay.v1.aio_status import StatusWatch
from blindrelay.v1.exchange_call import ExchangeCall
from blindrelay.v1.outer_status import OuterStatus

END_SECONDS: Final = 0.002
"""How long a short first message waits for the request's end: with it, it leaves in one step of gRPC's, and
not in three (docs/adr/0017). One that more follow, or a tunnel's, is held up no longer.

A client that breaks off in that time looks as if it had ended its request: the bridge sees the end, and then
that it was broken off. It acts on neither, but on the final record, which is in what arrived or is not.
"""

MAX_WHOLE: Final = 16_384
"""Bytes of a message that leaves so: gRPC keeps it until the bridge's first answer, and a model may think."""

OpenCall = Callable[[bytes | None], ExchangeCall]
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
    messages = [first]  # each leaves the list with its step, and then nobody has it
    del first
    tasks = [asyncio.create_task(_read(context, messages, tally))]
    try:
        if len(messages[0]) <= MAX_WHOLE:
            await asyncio.wait(tasks, timeout=END_SECONDS)
        if _is_whole(tasks[0], messages):
            call = open_call(messages.pop())
        else:
            call = open_call(None)
            tasks.append(asyncio.create_task(_upload(messages, tasks[0], context, call, tally)))
        return await _download(context, call, tally)
    finally:
        for task in tasks:
            task.cancel()


def _is_whole(reading: asyncio.Task[None], messages: list[bytes]) -> bool:
    """Whether the end came, and no message before it. Raises what reading has raised."""
    if not reading.done():
        return False
    reading.result()
    return len(messages) == 1


async def _download(context: Context, call: ExchangeCall, tally: Tally) -> OuterStatus | None:
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
    messages: list[bytes], reading: asyncio.Task[None], context: Context, call: Any, tally: Tally
) -> None:
    try:
        await call.write(messages.pop(0))
        await reading
        while messages:
            await call.write(messages.pop())
            await _read(context, messages, tally)
        await _half_closed(context)
        await call.done_writing()
    except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
        return  # One of the two calls has ended already; why, is learnt where the answers are read.
    except Exception:
        tally.failed = True
        call.cancel()


async def _read(context: Context, messages: list[bytes], tally: Tally) -> None:
    """Adds the client's next message; nothing at their end, or if the call is cancelled."""
    message = await context.read()
    if isinstance(message, bytes):
        tally.request_bytes += len(message)
        messages.append(message)


async def _half_closed(context: Context) -> None:
    """Returns, but for a rare race, only if the end of the client's messages was a half-close.

    gRPC reports a cancelled stream as ended, too, and cancels the handler a moment later. A second read
    goes through the same completion queue, behind that news; then the handler's task runs, and cancels ours.
    """
    await context.read()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
