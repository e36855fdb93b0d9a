"""Scenarios of responses in cells: one DEFLATE stream of parts, cut into records of one size."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from generator.directions import RESPONSE
from generator.primitives import Record, encode, record, sha256
from generator.scenario import Scenario
from google.protobuf.message import Message

from blindrelay.v1.inner_pb2 import ResponsePart

DICTIONARY = (Path(__file__).parents[3] / "spec" / "cell-dictionary.bin").read_bytes()
CELL = 512
ROOM = CELL - 20 - 4
"""Bytes of content: a record's overhead and the field's tag and length are not for it."""

HEAD, END = RESPONSE.head, RESPONSE.end
ONE, TWO, ZEROS = (RESPONSE.body(data) for data in (b"one", b"two", bytes(65_536)))


class Deflate:
    """The DEFLATE stream of a response."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(wbits=-13, memLevel=6, zdict=DICTIONARY)

    def __call__(self, *parts: Message) -> bytes:
        framed = b"".join(len(each).to_bytes(4, "big") + each for each in map(encode, parts))
        return self._stream.compress(framed) + self._stream.flush(zlib.Z_PARTIAL_FLUSH)


def scenarios() -> Iterator[Scenario]:
    yield from _accepted()
    yield from _refused()


def cell(content: bytes, *, first: bool = False, final: int = 0) -> Record:
    """A record that is a cell: 512 bytes with the response nonce, which is in the first."""
    part = ResponsePart(cell=content)
    return record(part, CELL - 20 - (32 if first else 0) - part.ByteSize(), final=final)


def _cells(*contents: bytes) -> list[Record]:
    """A response of 40 cells, of which the first have these contents."""
    all_contents = [*contents, *[b""] * (40 - len(contents))]
    return [
        cell(content, first=place == 0, final=int(place == 39)) for place, content in enumerate(all_contents)
    ]


def _scenario(
    name: str, comment: str, records: Sequence[Record], parts: Sequence[Message], expect: str = "accept"
) -> Scenario:
    """With `violation`, the last record is the one that is refused."""
    fields = {
        **RESPONSE.secrets,
        "records": RESPONSE.sealed(records),
        "opens": len(records) - (expect == "violation"),
        "parts": [encode(part) for part in parts],
    }
    return Scenario("cells", name, comment, expect, fields)


def _accepted() -> Iterator[Scenario]:
    whole = [HEAD, ONE, TWO, END]
    stream = Deflate()(*whole)
    yield _scenario("at_once", "The whole response in the first cell.", _cells(stream), whole)
    deflate = Deflate()
    ticks = _cells(b"", b"", deflate(HEAD), deflate(ONE), b"", deflate(TWO, END))
    yield _scenario("ticks", "Cells of nothing before, between and after the parts.", ticks, whole)
    pieces = [stream[place : place + 7] for place in range(0, len(stream), 7)]
    yield _scenario("cut_anywhere", "A cell ends in the middle of a part.", _cells(*pieces), whole)
    noise = [HEAD, RESPONSE.body(b"".join(sha256(bytes([place])) for place in range(100))), END]
    stream = b" " * 32 + Deflate()(*noise)
    pieces = [stream[place : place + ROOM].lstrip(b" ") for place in range(0, len(stream), ROOM)]
    yield _scenario("long", "More than a cell takes waits for the next ones.", _cells(*pieces), noise)
    zeros = [HEAD, ZEROS, ZEROS, END]
    yield _scenario("zeros", "65,536 zeros, twice, in one cell.", _cells(Deflate()(*zeros)), zeros)


def _refused() -> Iterator[Scenario]:
    second = {
        "part_after_cell": ("A body that is not in a cell.", record(ONE)),
        "padding_in_cells": ("A part without fields.", record(b"", 100)),
        "cell_and_body": ("A body beside a cell.", record(ResponsePart(cell=b"", body=b"one"))),
    }
    begun = Deflate()(HEAD)
    for name, (comment, refused) in second.items():
        yield _scenario(name, comment, [cell(begun, first=True), refused], [HEAD], "violation")
    outside = [record(HEAD), cell(Deflate()(ONE))]
    yield _scenario("cell_after_part", "A cell after a part that is in none.", outside, [HEAD], "violation")
    deflate = Deflate()
    late = [cell(deflate(HEAD, END), first=True), cell(deflate(ONE))]
    yield _scenario("part_after_end", "A body after the tail.", late, [HEAD, END], "violation")
    deflate = Deflate()
    large = [cell(deflate(HEAD), first=True), cell(deflate(*[ZEROS] * 4))]
    yield _scenario("too_much", "Over 262,144 bytes in a cell.", large, [HEAD], "violation")
    wrong = [cell(b"\x07", first=True)]
    yield _scenario("not_deflate", "There is no such type of block.", wrong, [], "violation")
    early = [cell(begun, first=True, final=1)]
    yield _scenario("final_before_end", "The last cell comes before the end.", early, [], "violation")
    for name, parts in {"cut": [HEAD, ONE], "cut_after_end": [HEAD, END]}.items():
        records = _cells(Deflate()(*parts))[:20]
        yield _scenario(name, "Twenty cells, and then nothing.", records, parts, "truncated")
