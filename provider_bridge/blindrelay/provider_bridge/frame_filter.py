"""Which frames of a tunnel are passed on (spec/protocol.md, section 11.5).

With an injected credential a client's message is held until it is complete and checked, as a body is. With
the client's own credential every frame passes as it arrives.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final, Protocol

from blindrelay.provider_bridge.errors import not_allowed
from blindrelay.provider_bridge.request_body import Pace
from blindrelay.provider_bridge.request_budget import Share
from blindrelay.sealing import BINARY, CLOSE, CONTINUATION, TEXT
from blindrelay.v1.inner_pb2 import Frame
from blindrelay.v1.limits import MAX_FRAME_DATA

MAX_EVENT: Final = 8_192
"""Bytes of an event about limits; it has a few hundred. Longer messages are content and are not examined."""

_LIMITS: Final = "rate_limits"

Check = Callable[[bytearray], Awaitable[None]]
"""Checks a complete message. Raises RequestError."""


class FrameFilter(Protocol):
    """Decides about the frames of one tunnel.

    Attributes:
        due: when the next record of an incomplete message must have arrived, in the event loop's time; None
            if no message has begun.
    """

    due: float | None

    async def passed(self, frame: Frame) -> Iterable[Frame]:
        """The frames to send to the provider, now that the client has sent this one. Raises RequestError."""

    def sent(self) -> None:
        """Called when the provider has taken them."""

    def withholds(self, frame: Frame) -> bool:
        """Whether a frame of the provider's must not reach the client."""


def frame_filter(check: Check | None, share: Share, limit: int) -> FrameFilter:
    """The filter of a tunnel whose messages are checked, or of one whose account is the client's own."""
    return NoFilter() if check is None else MessageFilter(check, share, limit)


class NoFilter:
    """Passes every frame: the account is the client's own."""

    due: float | None = None

    async def passed(self, frame: Frame) -> Iterable[Frame]:
        return [frame]

    def sent(self) -> None:
        pass

    def withholds(self, frame: Frame) -> bool:
        return False


class MessageFilter:
    """Collects each message and passes it on once it has been checked.

    Args:
        share: of the bridge's budget, for the message that is held.
        limit: bytes of a message.
    """

    due: float | None

    def __init__(self, check: Check, share: Share, limit: int) -> None:
        self.due = None
        self._check = check
        self._share = share
        self._limit = limit
        self._pace: Pace | None = None
        self._message = bytearray()

    async def passed(self, frame: Frame) -> Iterable[Frame]:
        """The frames of the message that this one completes, or none. Raises RequestError."""
        if frame.opcode == CLOSE:
            return [frame]
        if frame.opcode == BINARY:
            raise not_allowed(
                "a binary message cannot be checked: send text, or bring your own credential "
                "(credentials=brought)"
            )
        self._share.append(self._message, frame.data, self._limit, "a message")
        if not frame.fin:
            self._pace = self._pace or Pace()
            self.due = self._pace.due(len(self._message))
            return []
        self.due = self._pace = None
        await self._check(self._message)
        message, self._message = self._message, bytearray()
        return _frames(message)

    def sent(self) -> None:
        """Gives back the room of a message whose frames the provider has taken."""
        if self.due is None:
            self._share.release()

    def withholds(self, frame: Frame) -> bool:
        """True for a complete event about rate limits, such as OpenAI's rate_limits.updated: it shows how
        much of the account other customers have used.
        """
        data = frame.data
        if frame.opcode != TEXT or not frame.fin or len(data) > MAX_EVENT or _LIMITS.encode() not in data:
            return False
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            return False
        return isinstance(event, dict) and _LIMITS in str(event.get("type"))


def _frames(message: bytearray) -> Iterator[Frame]:
    """A message's frames, each made when it is requested: copying all at once would block the event loop."""
    last = max(0, len(message) - 1) // MAX_FRAME_DATA
    for index in range(last + 1):
        data = bytes(message[index * MAX_FRAME_DATA : (index + 1) * MAX_FRAME_DATA])
        yield Frame(opcode=CONTINUATION if index else TEXT, data=data, fin=index == last)
