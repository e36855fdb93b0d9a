"""Scenarios of tunnels: frames instead of a body, and each record padded alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from generator.directions import BROKE_OFF, REQUEST, RESPONSE
from generator.primitives import RECORD_ADDS, TUNNEL_FLOOR, Record, encode, padme, record
from generator.scenario import Scenario
from generator.streams import Direction
from google.protobuf.message import Message

from blindrelay.v1.inner_pb2 import (
    CREDENTIAL_INJECTED,
    EXCHANGE_KIND_TUNNEL,
    Frame,
    Header,
    RequestHead,
    RequestPart,
    ResponseHead,
    ResponsePart,
    ResponseTail,
)

CONTINUATION, TEXT, BINARY, CLOSE = 0, 1, 2, 8
BYE = b"\x03\xe8bye"

_PROTOCOL = Header(name=b"sec-websocket-protocol", value=b"realtime")
_ASKED = RequestHead(
    kind=EXCHANGE_KIND_TUNNEL,
    method="GET",
    url="https://api.openai.com/v1/realtime?model=gpt-realtime",
    headers=[_PROTOCOL],
    credential=CREDENTIAL_INJECTED,
)
_TAIL = ResponsePart(tail=ResponseTail())

ASKED = replace(REQUEST, head=RequestPart(head=_ASKED))
SWITCHED = replace(
    RESPONSE,
    head=ResponsePart(head=ResponseHead(status=101, headers=[_PROTOCOL])),
    end=_TAIL,
    asked="tunnel",
)


def scenarios() -> Iterator[Scenario]:
    for way in (ASKED, SWITCHED):
        yield from _whole(way)
        yield from _frames(way)
        yield from _closes(way)
        yield from _orders(way)
    yield from _ends()
    yield from _padded()


def _frame(way: Direction, opcode: int, data: bytes = b"", fin: bool = True) -> Message:
    frame = Frame(opcode=opcode, fin=fin, data=data)
    return RequestPart(frame=frame) if way is ASKED else ResponsePart(frame=frame)


def _close(way: Direction) -> Message:
    return _frame(way, CLOSE, BYE)


def _stream(
    way: Direction, name: str, comment: str, parts: Sequence[Message], *, refused: bool = False
) -> Scenario:
    """Head, these parts, and if none is refused the end; if one is, it is the last."""
    records = [record(way.head), *map(record, parts)]
    if refused:
        return way.stream(f"tunnel_{name}", comment, records, "violation", opens=len(records) - 1)
    return way.stream(f"tunnel_{name}", comment, [*records, record(way.end, final=1)])


def _whole(way: Direction) -> Iterator[Scenario]:
    text, binary, close = _frame(way, TEXT, b"{}"), _frame(way, BINARY, b"\x00\xff"), _close(way)
    yield _stream(way, "closed", "Text, bytes, and a close with a reason.", [text, binary, close])
    yield _stream(way, "silent", "Opened and closed.", [_frame(way, CLOSE)])
    yield _stream(way, "empty_frame", "A message of no bytes.", [_frame(way, TEXT), close])
    begun, rest = _frame(way, TEXT, b'{"a', fin=False), _frame(way, CONTINUATION, b'":1}')
    middle = _frame(way, CONTINUATION, b"", fin=False)
    yield _stream(way, "fragments", "One message in three frames.", [begun, middle, rest, close])
    yield _stream(way, "closed_in_message", "A close in the middle of a message.", [begun, close])
    largest = _frame(way, BINARY, bytes(65_536))
    yield _stream(way, "largest_frame", "65,536 bytes.", [largest, close])
    cut = [record(way.head), record(text)]
    yield way.stream("tunnel_cut", "Frames, and then nothing.", cut, "truncated")
    yield way.stream("tunnel_cut_after_close", "No final record.", [*cut, record(close)], "truncated")


def _frames(way: Direction) -> Iterator[Scenario]:
    begun = _frame(way, TEXT, b"a", fin=False)
    refused: dict[str, tuple[str, list[Message]]] = {
        "continuation_of_nothing": ("No message is open.", [_frame(way, CONTINUATION, b"a")]),
        "text_in_message": ("Another message is open.", [begun, _frame(way, TEXT, b"b")]),
        "bytes_in_message": ("Another message is open.", [begun, _frame(way, BINARY, b"b")]),
        "ping": ("Opcode 9 is not carried.", [_frame(way, 9)]),
        "pong": ("Opcode 10 is not carried.", [_frame(way, 10)]),
        "opcode_3": ("Reserved.", [_frame(way, 3)]),
        "opcode_257": ("Not even a byte.", [_frame(way, 257, b"a")]),
        "frame_too_large": ("65,537 bytes.", [_frame(way, BINARY, bytes(65_537))]),
    }
    for name, (comment, parts) in refused.items():
        yield _stream(way, name, comment, parts, refused=True)


def _closes(way: Direction) -> Iterator[Scenario]:
    def close(data: bytes, fin: bool = True) -> list[Message]:
        return [_frame(way, CLOSE, data, fin)]

    for code in (1000, 1003, 1007, 1014, 3000, 4999):
        yield _stream(way, f"close_{code}", f"Code {code}.", close(code.to_bytes(2, "big")))
    for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000):
        data = code.to_bytes(2, "big")
        yield _stream(way, f"close_{code}", f"Code {code} is never sent.", close(data), refused=True)
    longest = close(BYE + b"." * (125 - len(BYE)))
    yield _stream(way, "close_longest", "125 bytes.", longest)
    refused = {
        "close_too_long": ("126 bytes.", close(BYE + b"." * (126 - len(BYE)))),
        "close_half_code": ("One byte.", close(b"\x03")),
        "close_not_utf8": ("A reason that is no text.", close(b"\x03\xe8\xff")),
        "close_in_fragments": ("A close without fin.", close(BYE, fin=False)),
    }
    for name, (comment, parts) in refused.items():
        yield _stream(way, name, comment, parts, refused=True)


def _orders(way: Direction) -> Iterator[Scenario]:
    text, close = _frame(way, TEXT, b"{}"), _close(way)
    refused: dict[str, tuple[str, list[Message]]] = {
        "body": ("A body in a tunnel.", [way.body(b"one")]),
        "head_twice": ("A second head.", [way.head]),
        "frame_after_close": ("A frame after the close.", [close, text]),
        "close_twice": ("A second close.", [close, close]),
        "padding": ("Padding before the end.", [text, type(way.head)()]),
        "frame_after_end": ("A frame after the end.", [close, way.end, text]),
    }
    for name, (comment, parts) in refused.items():
        yield _stream(way, name, comment, parts, refused=True)
    bad_close = _joined(way.head, _frame(way, CLOSE, b"\x03"))
    comment = "A close in the head's record is judged too."
    yield way.stream("tunnel_head_with_bad_close", comment, [record(bad_close)], "violation", opens=0)
    with_body = _joined(way.body(b"one"), text)
    yield _stream(way, "body_and_frame", "A body and a frame in one part.", [with_body], refused=True)
    frame_then_end = _joined(text, way.end)
    yield _stream(
        way,
        "frame_and_end_twice",
        "A second end, after a frame in its part.",
        [close, frame_then_end],
        refused=True,
    )
    one_record = [record(_joined(way.head, close, way.end), final=1)]
    yield way.stream("tunnel_one_record", "Head, close and end in one record.", one_record)


def _joined(*parts: Message) -> Message:
    """One part with the fields of several."""
    joined = type(parts[0])()
    for part in parts:
        joined.MergeFrom(part)
    return joined


def _ends() -> Iterator[Scenario]:
    """Where the two directions differ."""
    text, close = _frame(SWITCHED, TEXT, b"{}"), _close(SWITCHED)
    yield _stream(ASKED, "without_close", "The client just ends.", [_frame(ASKED, TEXT, b"{}")])
    yield _stream(
        SWITCHED, "tail_without_close", "The provider's close is missing.", [text, _TAIL], refused=True
    )
    broken = ResponsePart(error=BROKE_OFF)
    for name, before in {"head": [], "frame": [text], "close": [close]}.items():
        records = [record(SWITCHED.head), *map(record, before), record(broken, final=1)]
        yield SWITCHED.stream(f"tunnel_error_after_{name}", "The connection was lost.", records)


def _padded() -> Iterator[Scenario]:
    """As a sealer makes them: each record is PADMÉ of at least 1,024 bytes."""
    for way in (ASKED, SWITCHED):
        sizes = (1, 900, 1_100, 5_000, 65_536)
        parts = [way.head, *(_frame(way, BINARY, bytes(size)) for size in sizes), _close(way), way.end]
        records = [_padded_record(part, is_last=part is way.end) for part in parts]
        nonce = {"response_nonce": way.nonce} if way.nonce else {}
        fields = {
            "direction": way.kind,
            **way.secrets,
            **nonce,
            "records": way.sealed(records),
            "parts": list(map(encode, parts)),
        }
        yield Scenario("tunnel", way.kind, "Every record is padded by itself.", "accept", fields)


def _padded_record(part: Message, *, is_last: bool) -> Record:
    bare = RECORD_ADDS + part.ByteSize()
    return record(part, padme(max(TUNNEL_FLOOR, bare)) - bare, int(is_last))
