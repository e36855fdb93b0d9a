"""Which WebSocket frame may follow which in one direction of a tunnel (spec/protocol.md, section 10.4)."""

from __future__ import annotations

from typing import Final

from blindrelay.v1.inner_pb2 import Frame
from blindrelay.v1.limits import MAX_FRAME_DATA

CONTINUATION: Final = 0
"""The opcode of a frame that goes on with a message (RFC 6455, section 11.8, as are the next)."""

TEXT: Final = 1
"""The opcode of a frame that begins a message of text."""

BINARY: Final = 2
"""The opcode of a frame that begins a message of bytes."""

CLOSE: Final = 8
"""The opcode of a close frame. Pings and pongs are not carried."""

MAX_CLOSE_DATA: Final = 125
"""Bytes of code and reason: what a control frame holds (RFC 6455, section 5.5)."""

_CODE_SIZE: Final = 2


class FrameOrder:
    """Follows the frames of one direction."""

    def __init__(self) -> None:
        self._in_message = False

    def advance(self, frame: Frame) -> str | None:
        """Moves on by a frame; answers what is wrong with it, or None."""
        if frame.opcode == CLOSE:
            return _wrong_with_close(frame)
        if frame.opcode not in (CONTINUATION, TEXT, BINARY):
            return "a frame's opcode is not one that is carried"
        if len(frame.data) > MAX_FRAME_DATA:
            return "a frame's data is over 65,536 bytes"
        if (frame.opcode == CONTINUATION) is not self._in_message:
            return "a frame continues no message, or begins one within another"
        self._in_message = not frame.fin
        return None


def data_frames(opcode: int, data: bytes, *, fin: bool = True) -> list[Frame]:
    """A text, binary or continuation frame of any length, as frames of at most 65,536 bytes."""
    pieces = [data[start : start + MAX_FRAME_DATA] for start in range(0, len(data), MAX_FRAME_DATA)] or [b""]
    opcodes = [opcode, *[CONTINUATION] * (len(pieces) - 1)]
    frames = [Frame(opcode=each, data=piece) for each, piece in zip(opcodes, pieces, strict=True)]
    frames[-1].fin = fin
    return frames


def close_frame(code: int | None, reason: str = "") -> Frame:
    """A close with a code and as much of the reason as fits; with None, one that says nothing."""
    if code is None:
        return Frame(opcode=CLOSE, fin=True)
    room = MAX_CLOSE_DATA - _CODE_SIZE
    text = reason.encode("utf-8", "replace")[:room].decode("utf-8", "ignore").encode()
    return Frame(opcode=CLOSE, fin=True, data=code.to_bytes(_CODE_SIZE, "big") + text)


def close_reason(frame: Frame) -> tuple[int | None, str]:
    """Code and reason of a close that was judged before; None where it has no code."""
    if not frame.data:
        return None, ""
    return int.from_bytes(frame.data[:_CODE_SIZE], "big"), frame.data[_CODE_SIZE:].decode()


def is_close_code(code: int) -> bool:
    """Whether a close may carry it: RFC 6455, section 7.4, and the registry of its section 11.7."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def _wrong_with_close(frame: Frame) -> str | None:
    if not frame.fin or len(frame.data) > MAX_CLOSE_DATA or len(frame.data) == 1:
        return "a close is one frame of no, or of 2 to 125 bytes"
    if frame.data and not is_close_code(int.from_bytes(frame.data[:_CODE_SIZE], "big")):
        return "a close has a code that none may have"
    try:
        frame.data[_CODE_SIZE:].decode()
    except UnicodeDecodeError:
        return "a close's reason is not UTF-8"
    return None
