"""Which part may follow which in a request and in a response (spec/protocol.md, section 10)."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from blindrelay.sealing.frames import CLOSE, FrameOrder
from blindrelay.v1.inner_pb2 import EXCHANGE_KIND_TUNNEL, RequestHead, RequestPart, ResponseHead, ResponsePart

TUNNEL_STATUS: Final = 101
"""The status of a response that opens a tunnel (spec/protocol.md, section 10.4)."""

_TUNNEL_HEAD: Final = "tunnel head"
_CLOSE: Final = "close"
"""How the tables below name the head that opens a tunnel and the frame that closes it."""


_FIELDS: Final = {
    kind.DESCRIPTOR: tuple(
        field.name for field in sorted(kind.DESCRIPTOR.fields, key=lambda each: each.number)
    )
    for kind in (RequestPart, ResponsePart)
}


class Stage(Enum):
    """What a direction has reached."""

    HEAD = auto()
    BODY = auto()
    FRAMES = auto()
    CLOSED = auto()
    PADDING = auto()

    __hash__ = object.__hash__  # Enum's own is written in Python


Order = dict[tuple[Stage, str], Stage]

REQUEST_ORDER: Final[Order] = {
    (Stage.HEAD, "head"): Stage.BODY,
    (Stage.BODY, "body"): Stage.BODY,
    (Stage.BODY, "end"): Stage.PADDING,
    (Stage.HEAD, _TUNNEL_HEAD): Stage.FRAMES,
    (Stage.FRAMES, "frame"): Stage.FRAMES,
    (Stage.FRAMES, _CLOSE): Stage.CLOSED,
    (Stage.FRAMES, "end"): Stage.PADDING,
    (Stage.CLOSED, "end"): Stage.PADDING,
    (Stage.PADDING, "padding"): Stage.PADDING,
}
"""head body* end padding*; in a tunnel head frame* [close] end padding*. Anything else is a violation."""

RESPONSE_ORDER: Final[Order] = {
    (Stage.HEAD, "head"): Stage.BODY,
    (Stage.HEAD, "error"): Stage.PADDING,
    (Stage.BODY, "body"): Stage.BODY,
    (Stage.BODY, "tail"): Stage.PADDING,
    (Stage.BODY, "error"): Stage.PADDING,
    (Stage.HEAD, _TUNNEL_HEAD): Stage.FRAMES,
    (Stage.FRAMES, "frame"): Stage.FRAMES,
    (Stage.FRAMES, _CLOSE): Stage.CLOSED,
    (Stage.FRAMES, "error"): Stage.PADDING,
    (Stage.CLOSED, "tail"): Stage.PADDING,
    (Stage.CLOSED, "error"): Stage.PADDING,
    (Stage.PADDING, "padding"): Stage.PADDING,
}
"""head body* (tail | error) padding*, or error padding*; in a tunnel head frame* close tail padding*, or an
error instead of what is missing. Anything else is a violation."""


class Direction:
    """Follows the order of parts, for a sealer or an opener."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._stage = Stage.HEAD
        self._frames: FrameOrder | None = None

    def advance(self, part: RequestPart | ResponsePart) -> str | None:
        """Takes the next part. Returns what is wrong with it, or None; a wrong part changes nothing."""
        stage, frames = self._stage, self._frames
        for name in [_name_of(field, part) for field in _fields_of(part)] or ["padding"]:
            following = self._order.get((stage, name))
            if following is None:
                return f"{name} cannot come here"
            if name == _TUNNEL_HEAD:
                frames = FrameOrder()
            stage = following
        if part.HasField("frame") and frames is not None and (wrong := frames.advance(part.frame)):
            return wrong
        self._stage, self._frames = stage, frames
        return None

    @property
    def is_tunnel(self) -> bool:
        return self._frames is not None

    @property
    def ended(self) -> bool:
        return self._stage is Stage.PADDING


def _name_of(field: str, part: RequestPart | ResponsePart) -> str:
    """The field's name in the tables, where tunnel heads and close frames have their own."""
    if field == "head" and _opens_tunnel(part.head):
        return _TUNNEL_HEAD
    return _CLOSE if field == "frame" and part.frame.opcode == CLOSE else field


def _fields_of(part: RequestPart | ResponsePart) -> list[str]:
    """The names of a part's fields, in the order of their numbers. ListFields() would also copy the body."""
    return [name for name in _FIELDS[part.DESCRIPTOR] if part.HasField(name)]  # type: ignore[arg-type]


def _opens_tunnel(head: RequestHead | ResponseHead) -> bool:
    if isinstance(head, RequestHead):
        return head.kind == EXCHANGE_KIND_TUNNEL
    return head.status == TUNNEL_STATUS
