"""Attacks with time: stalled, delayed, never read, other deadlines, and a cancellation that is hidden."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from blindrelay.testbed.attacks.alterations import for_ever, stall_after
from blindrelay.testbed.attacks.attack import CALL_ENDED, CALL_OPEN, SHORT_RESPONSE, UNNOTICED, WAITED, Attack
from blindrelay.testbed.attacks.doubles.bridge import without_deadline
from blindrelay.testbed.attacks.doubles.client import without_final, without_idle_limit
from blindrelay.testbed.attacks.relay import EndedError, Hook, HostileRelay, Messages, Passage
from blindrelay.testbed.attacks.victim import LARGE, LEFT, STREAM, UNSHAPED, Ask
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.limits import DEADLINE_SECONDS, TIME_STEP

_TIMED_OUT: Final = "TimedOutError"
_TOO_LATE: Final = "BridgeError deadline"
_IDLE: Final = "the idle limit"
_DEADLINE: Final = "the sealed deadline"
_MINUTE: Final = "&deadline=1m"
_IDLE_SECONDS: Final = 2.0
_AT_LEAST: Final = 8.0
"""Seconds of an exchange's time that remain for it to reach the provider."""


class NeverRead(Hook):
    """The relay opens a call and reads nothing: of the client, or of the bridge, whom it sends everything."""

    def __init__(self, *, from_bridge: bool) -> None:
        super().__init__()
        self._from_bridge = from_bridge

    async def carry(self, passage: Passage) -> None:
        if self._from_bridge:
            call = passage.call()
            await passage.upload(call)
        await for_ever()


class Delay(Hook):
    """The exchange is held back until its sealed deadline, of the shortest class, has passed."""

    async def carry(self, passage: Passage) -> None:
        ends = Envelope.FromString(passage.envelope).issued_at + DEADLINE_SECONDS[0]
        await asyncio.sleep(max(0.0, ends - time.time()) + 0.2)
        await passage.forward()


class HiddenCancellation(Hook):
    """When the client goes away the bridge is not told, and its response is read on."""

    def __init__(self) -> None:
        super().__init__(deadline=None)
        self._reading: asyncio.Task[None] | None = None

    async def carry(self, passage: Passage) -> None:
        responses: asyncio.Queue[bytes] = asyncio.Queue()
        call = passage.call()
        await passage.upload(call)
        self._reading = asyncio.create_task(self._read_on(passage.responses(call), responses))
        while True:
            await passage.context.write(await responses.get())

    async def afterwards(self, relay: HostileRelay) -> None:
        if self._reading is not None:
            await asyncio.wait([self._reading])

    async def _read_on(self, messages: Messages, responses: asyncio.Queue[bytes]) -> None:
        try:
            async for message in messages:
                responses.put_nowait(message)
        except EndedError:
            return


def _little_time_left() -> Callable[[], float]:
    """A clock by which an exchange of the shortest class has between 8 and 18 seconds left, by ours."""
    issued_at = (time.time() - DEADLINE_SECONDS[0] + _AT_LEAST) // TIME_STEP * TIME_STEP + TIME_STEP
    return lambda: issued_at


def _no_time_left() -> Callable[[], float]:
    """A clock by which the time of an exchange of the shortest class is over, by ours."""
    return lambda: time.time() - DEADLINE_SECONDS[0] - TIME_STEP


# fmt: off
TIME_ATTACKS: Final = [
    Attack("stall-before-answer", "Nothing comes back, and the call stays open.",
           partial(Hook, down=stall_after(0)), (_TIMED_OUT,), 1,
           _IDLE, without_idle_limit, WAITED, read=_IDLE_SECONDS, spare=True),
    Attack("stall-mid-stream", "After a part of the response nothing more comes.",
           partial(Hook, down=stall_after(1)), (_TIMED_OUT,), 1,
           _IDLE, without_idle_limit, WAITED, asks=(STREAM,), read=_IDLE_SECONDS, spare=True),
    Attack("never-read-client", "The relay takes the call, and reads nothing of the request.",
           partial(NeverRead, from_bridge=False), (_TIMED_OUT,), 0,
           _IDLE, without_idle_limit, WAITED, asks=(Ask(upload=8_388_608),), read=_IDLE_SECONDS, spare=True),
    Attack("never-read-bridge", "The relay sends the request, and reads nothing of the response.",
           partial(NeverRead, from_bridge=True), (_TIMED_OUT,), 1,
           _IDLE, without_idle_limit, WAITED, asks=(LARGE,), read=_IDLE_SECONDS, spare=True),
    Attack("delay", "The request is held back until its deadline has passed.",
           Delay, (_TOO_LATE,), 0,
           _DEADLINE, without_deadline, UNNOTICED,
           options=_MINUTE, clock=_little_time_left, twin_clock=_no_time_left, spare=True),
    Attack("stretch-deadline", "The bridge's call gets no deadline at all.",
           partial(Hook, deadline=None), (_TOO_LATE,), 1,
           _DEADLINE, without_deadline, WAITED, asks=(STREAM,), also=CALL_ENDED,
           options=_MINUTE, clock=_little_time_left, twin_clock=_no_time_left, spare=True),
    Attack("hide-cancellation", "The client goes away; the relay keeps the bridge's call, and reads on.",
           HiddenCancellation, (LEFT,), 1,
           _DEADLINE, without_deadline, CALL_OPEN, asks=(replace(STREAM, leaves=True),), also=CALL_ENDED,
           options=_MINUTE, clock=_little_time_left, twin_clock=_no_time_left, spare=True),
    Attack("cut-deadline", "The bridge's call gets four seconds.",
           partial(Hook, deadline=4.0), ("CutResponseError",), 1,
           "required tail and FINAL", without_final, SHORT_RESPONSE, asks=(STREAM,),
           options=UNSHAPED, spare=True),
]
# fmt: on
