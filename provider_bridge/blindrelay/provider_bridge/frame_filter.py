"""Which of a tunnel's frames go on to the provider.

With an injected credential a message is held until it is whole and judged, as a body is (spec/protocol.md,
section 11.5); with one that the client brings, every frame passes as it comes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator

from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.policy.account_events import is_about_limits
from blindrelay.provider_bridge.request_body import Pace, gather
from blindrelay.provider_bridge.request_budget import Share
from blindrelay.sealing import BINARY, CLOSE, CONTINUATION, TEXT
from blindrelay.v1.inner_pb2 import ERROR_CODE_NOT_ALLOWED, Frame
from blindrelay.v1.limits import MAX_FRAME_DATA

Judge = Callable[[bytearray], Awaitable[None]]
"""Judges a whole message. Raises RequestError."""


class NoFilter:
    """Passes every frame."""

    due: float | None = None

    async def passed(self, frame: Frame) -> Iterable[Frame]:
        """The frame itself."""
        return [frame]

    def sent(self) -> None:
        """Nothing was held."""

    def withholds(self, frame: Frame) -> bool:
        """Nothing: the account is the client's own."""
        return False


class MessageFilter:
    """Gathers each message and passes it on when it has been judged.

    Attributes:
        due: when the next record of the message that has begun has to be here, in the event loop's time; None
            if no message has begun.

    Args:
        share: of the bridge's budget, for the message that is held.
        limit: bytes of a message.
    """

    due: float | None

    def __init__(self, judge: Judge, share: Share, limit: int) -> None:
        self.due = None
        self._judge = judge
        self._share = share
        self._limit = limit
        self._pace: Pace | None = None
        self._message = bytearray()

    async def passed(self, frame: Frame) -> Iterable[Frame]:
        """The frames of the message that this one completes, or none. Raises RequestError."""
        if frame.opcode == CLOSE:
            return [frame]
        if frame.opcode == BINARY:
            raise RequestError(
                ERROR_CODE_NOT_ALLOWED,
                "a binary message cannot be checked: send text, or bring your own (credentials=brought)",
            )
        gather(self._message, frame.data, self._share, self._limit, "a message")
        if not frame.fin:
            self._pace = self._pace or Pace()
            self.due = self._pace.due(len(self._message))
            return []
        self.due = self._pace = None
        await self._judge(self._message)
        message, self._message = self._message, bytearray()
        return _frames(message)

    def sent(self) -> None:
        """Gives back the room of a message whose frames the provider has taken."""
        if self.due is None:
            self._share.release()

    def withholds(self, frame: Frame) -> bool:
        """What tells how much of the account's limits other customers have used."""
        return is_about_limits(frame)


def _frames(message: bytearray) -> Iterator[Frame]:
    """A message's frames, each made when it is asked for: a whole copy would hold up the event loop."""
    last = max(0, len(message) - 1) // MAX_FRAME_DATA
    for index in range(last + 1):
        piece = bytes(message[index * MAX_FRAME_DATA : (index + 1) * MAX_FRAME_DATA])
        yield Frame(opcode=CONTINUATION if index else TEXT, data=piece, fin=index == last)
