"""Scenarios of tunnels in cells: the head in a record of its own, then one DEFLATE stream of frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from generator.cells import Deflate
from generator.directions import BROKE_OFF
from generator.primitives import RECORD_ADDS, TUNNEL_FLOOR, Record, encode, padme, record
from generator.scenario import Scenario
from generator.streams import Direction
from generator.tunnels import ASKED, BINARY, BYE, CLOSE, SWITCHED, TEXT
from google.protobuf.message import Message

from blindrelay.v1.inner_pb2 import Frame, RequestPart, ResponsePart

CELL = 512


def scenarios() -> Iterator[Scenario]:
    for way in (ASKED, SWITCHED):
        yield from _accepted(way)
        yield from _refused(way)
    lost = ResponsePart(error=BROKE_OFF)
    stream = Deflate()(_frame(SWITCHED, TEXT, b"{}"), lost)
    parts = [SWITCHED.head, _frame(SWITCHED, TEXT, b"{}"), lost]
    records = [_head(SWITCHED), _cell(SWITCHED, stream, final=1)]
    yield _scenario(SWITCHED, "lost", "The connection was lost after a frame.", records, parts)


def _accepted(way: Direction) -> Iterator[Scenario]:
    text, other, close = _frame(way, TEXT, b"{}"), _frame(way, BINARY, b"\x00\xff"), _frame(way, CLOSE, BYE)
    deflate, parts = Deflate(), [way.head, text, other, text, close, way.end]
    contents = [b"", deflate(text, other), b"", deflate(text), deflate(close, way.end)]
    records = [_head(way), *(_cell(way, content, final=int(content is contents[-1])) for content in contents)]
    yield _scenario(way, "closed", "Cells of nothing, of two frames, and with close and end.", records, parts)
    stream = Deflate()(text, close, way.end)
    pieces = [stream[place : place + 5] for place in range(0, len(stream), 5)]
    last = len(pieces) - 1
    records = [_head(way), *(_cell(way, piece, final=int(n == last)) for n, piece in enumerate(pieces))]
    parts = [way.head, text, close, way.end]
    yield _scenario(way, "cut_anywhere", "A cell ends in the middle of a frame.", records, parts)


def _refused(way: Direction) -> Iterator[Scenario]:
    text = _frame(way, TEXT, b"{}")
    second = {
        "frame_after_cell": ("A frame that is in no cell.", record(text)),
        "padding_in_cells": ("A part without fields.", record(b"", 100)),
    }
    for name, (comment, refused) in second.items():
        records = [_head(way), _cell(way, Deflate()(text)), refused]
        yield _scenario(way, name, comment, records, [way.head, text], "violation")
    late, parts = [_head(way), record(text), _cell(way, Deflate()(text))], [way.head, text]
    comment = "Cells begin after the head or not at all."
    yield _scenario(way, "cell_after_frame", comment, late, parts, "violation")
    early = [_head(way), _cell(way, Deflate()(text), final=1)]
    yield _scenario(way, "final_before_end", "The last cell has no end.", early, [way.head], "violation")
    cut = [_head(way), _cell(way, Deflate()(text))]
    yield _scenario(way, "cut", "A cell, and then nothing.", cut, [way.head, text], "truncated")


def _frame(way: Direction, opcode: int, data: bytes) -> Message:
    frame = Frame(opcode=opcode, fin=True, data=data)
    return RequestPart(frame=frame) if way is ASKED else ResponsePart(frame=frame)


def _head(way: Direction) -> Record:
    bare = RECORD_ADDS + way.head.ByteSize()
    return record(way.head, padme(max(TUNNEL_FLOOR, bare)) - bare)


def _cell(way: Direction, content: bytes, *, final: int = 0) -> Record:
    part = RequestPart(cell=content) if way is ASKED else ResponsePart(cell=content)
    return record(part, CELL - RECORD_ADDS - part.ByteSize(), final=final)


def _scenario(
    way: Direction,
    name: str,
    comment: str,
    records: Sequence[Record],
    parts: Sequence[Message],
    expect: str = "accept",
) -> Scenario:
    """With `violation`, the last record is the one that is refused."""
    fields = {
        "direction": way.kind,
        **way.secrets,
        "records": way.sealed(records),
        "opens": len(records) - (expect == "violation"),
        "parts": list(map(encode, parts)),
    }
    return Scenario("tunnel_cells", f"{way.kind}_{name}", comment, expect, fields)
