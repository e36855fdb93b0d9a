"""Which WebSocket frame may follow which in one direction of a tunnel (spec/protocol.md, section 10.4)."""

from __future__ import annotations

from typing import Final

from blindrelay.v1.inner_pb2 import Frame
from blindrelay.v1.limits import MAX_FRAME_DATA

CONTINUATION: Final = 0
"""The opcode of a frame that continues a message. All opcodes are from RFC 6455, section 11.8."""

TEXT: Final = 1
"""The opcode of a frame that begins a text message."""

BINARY: Final = 2
"""The opcode of a frame that begins a binary message."""

CLOSE: Final = 8
"""The opcode of a close frame. Pings and pongs are not carried."""

MAX_CLOSE_DATA: Final = 125
"""The most bytes of code and reason: a control frame holds no more (RFC 6455, section 5.5)."""

_CODE_SIZE: Final = 2


class FrameOrder:
    """Follows the frames of one direction."""

    def __init__(self) -> None:
        self._in_message = False

    def advance(self, frame: Frame) -> str | None:
        """Takes the next frame. Returns what is wrong with it, or None."""
        if frame.opcode == CLOSE:
            return _wrong_with_close(frame)
        if frame.opcode not in (CONTINUATION, TEXT, BINARY):
            return "a frame has an opcode that is not carried"
        if len(frame.data) > MAX_FRAME_DATA:
            return "a frame's data is over 65,536 bytes"
        if (frame.opcode == CONTINUATION) is not self._in_message:
            return "a frame continues no message, or begins one inside another"
        self._in_message = not frame.fin
        return None


def data_frames(opcode: int, data: bytes, *, fin: bool = True) -> list[Frame]:
    """Splits a text, binary or continuation frame of any length into frames of at most 65,536 bytes."""
    starts = range(0, max(1, len(data)), MAX_FRAME_DATA)
    frames = [Frame(opcode=CONTINUATION, data=data[start : start + MAX_FRAME_DATA]) for start in starts]
    frames[0].opcode = opcode
    frames[-1].fin = fin
    return frames


def close_frame(code: int | None, reason: str = "") -> Frame:
    """A close frame with a code and as much of the reason as fits. Without a code it is empty."""
    if code is None:
        return Frame(opcode=CLOSE, fin=True)
    room = MAX_CLOSE_DATA - _CODE_SIZE
    text = reason.encode("utf-8", "replace")[:room].decode("utf-8", "ignore").encode()
    return Frame(opcode=CLOSE, fin=True, data=code.to_bytes(_CODE_SIZE, "big") + text)


def close_reason(frame: Frame) -> tuple[int | None, str]:
    """The code (None if it has none) and the reason of a close frame that FrameOrder has accepted."""
    if not frame.data:
        return None, ""
    return int.from_bytes(frame.data[:_CODE_SIZE], "big"), frame.data[_CODE_SIZE:].decode()


def is_close_code(code: int) -> bool:
    """Whether a close frame may carry the code (RFC 6455, section 7.4 and the registry of section 11.7)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def _wrong_with_close(frame: Frame) -> str | None:
    if not frame.fin or len(frame.data) > MAX_CLOSE_DATA or len(frame.data) == 1:
        return "a close is not a single frame that is empty or has 2 to 125 bytes"
    if frame.data and not is_close_code(int.from_bytes(frame.data[:_CODE_SIZE], "big")):
        return "a close frame has a code that must not be sent"
    try:
        frame.data[_CODE_SIZE:].decode()
    except UnicodeDecodeError:
        return "the reason of a close frame is not UTF-8"
    return None
