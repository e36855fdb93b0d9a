"""Responses in cells: what is in them, how large and how many they are (spec/protocol.md, section 9.6)."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.sealing import (
    BALANCED,
    STRICT,
    CellSealer,
    CellShape,
    ResponseOpener,
    SealingError,
    StateError,
    TruncatedError,
    ViolationError,
)
from blindrelay.sealing.cell_dictionary import DICTIONARY
from blindrelay.sealing.cells import CellReader
from blindrelay.v1.inner_pb2 import Header, ResponseHead, ResponsePart, ResponseTail

from .conftest import VECTORS
from .known_key import Vector, derive_key_of, response_opener, response_sealer

SHAPES = [BALANCED, STRICT]
HEAD = ResponsePart(head=ResponseHead(status=200, headers=[Header(name=b"a", value=b"b")]))
END = ResponsePart(tail=ResponseTail())
SMALL = replace(BALANCED, first_count=4, next_count=8)


def body(data: bytes) -> ResponsePart:
    return ResponsePart(body=data)


def noise(size: int) -> bytes:
    """Bytes that cannot be compressed, the same each time."""
    return random.Random(size).randbytes(size)


def begun(shape: CellShape = SMALL) -> CellSealer:
    cells = response_sealer().in_cells(shape)
    cells.add(HEAD)
    return cells


def all_cells(cells: CellSealer) -> list[bytes]:
    sealed = []
    while not cells.finished:
        sealed.append(cells.cell())
    return sealed


def joined(sealed: list[bytes]) -> ResponsePart:
    """What a client has of these cells, as one part."""
    opener, whole = response_opener(), ResponsePart()
    for record in sealed:
        part = opener.open(record)
        data = whole.body + part.body
        whole.MergeFrom(part)
        whole.body = data
    opener.close()
    assert opener.in_cells
    return whole


def test_dictionary_is_that_of_the_specification() -> None:
    assert (VECTORS.parent / "cell-dictionary.bin").read_bytes() == DICTIONARY
    assert Path(VECTORS.parent / "protocol.md").read_text("utf-8").count("cell-dictionary.bin") == 1


def test_vector(cells_vector: Vector) -> None:
    """The first records open to the stated parts, joined cell by cell. Then comes the outcome."""
    opener, whole = ResponseOpener(derive_key_of(cells_vector | {"kind": "response"})), ResponsePart()
    records = [bytes.fromhex(record) for record in cells_vector["records"]]
    stated = [ResponsePart.FromString(bytes.fromhex(part)) for part in cells_vector["parts"]]
    for record in records[: cells_vector["opens"]]:
        part = opener.open(record)
        data = whole.body + part.body
        whole.MergeFrom(part)
        whole.body = data
    assert whole.body == b"".join(part.body for part in stated)
    assert whole.HasField("head") == any(part.HasField("head") for part in stated)
    assert whole.HasField("tail") == opener.ended == any(part.HasField("tail") for part in stated)
    if cells_vector["expect"] == "accept":
        opener.close()
        return
    errors: dict[str, type[SealingError]] = {"violation": ViolationError, "truncated": TruncatedError}
    refused = records[cells_vector["opens"] :]
    with pytest.raises(errors[cells_vector["expect"]]):
        opener.open(refused[0]) if refused else opener.close()


@pytest.mark.parametrize("shape", SHAPES, ids=["balanced", "strict"])
@given(pieces=st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=400)), max_size=30))
def test_any_body_comes_whole_in_cells_of_one_size(shape: CellShape, pieces: list[tuple[int, bytes]]) -> None:
    cells, sealed, added = begun(replace(shape, first_count=4, next_count=8)), list[bytes](), b""
    for ticks, data in pieces:
        sealed += [cells.cell() for _ in range(ticks)]
        if cells.has_room:
            cells.add(body(data))
            added += data
    cells.add(END)
    sealed += all_cells(cells)
    whole = joined(sealed)
    assert (whole.head, whole.body, whole.HasField("tail")) == (HEAD.head, added, True)
    assert {len(record) for record in sealed} == {shape.sizes[0]}


@pytest.mark.parametrize(
    ("shape", "counts"), [(BALANCED, [40, 120, 240, 480]), (STRICT, [64, 176, 484, 1_331])]
)
def test_number_of_cells_is_one_of_few(shape: CellShape, counts: list[int]) -> None:
    assert [shape.padded_count(count) for count in counts] == counts
    assert [shape.padded_count(count + 1) for count in counts[:-1]] == counts[1:]
    assert shape.padded_count(1) == counts[0]


@pytest.mark.parametrize("ticks", [0, 1, 3, 4, 5, 8, 9])
def test_end_is_followed_by_cells_of_nothing(ticks: int) -> None:
    cells = begun()
    sealed = [cells.cell() for _ in range(ticks)]
    cells.add(END)
    sealed += all_cells(cells)
    assert len(sealed) == SMALL.padded_count(ticks + 1)
    assert {len(record) for record in sealed} == {512}
    assert joined(sealed).HasField("tail")
    with pytest.raises(StateError):
        cells.cell()


def test_size_grows_only_after_a_run_and_never_shrinks() -> None:
    cells = begun(BALANCED)
    cells.add(body(noise(60_000)))
    sizes = [len(cells.cell()) for _ in range(48)]
    cells.add(END)
    sizes += [len(record) for record in all_cells(cells)]
    assert sizes == [512] * 8 + [4_096] * 8 + [32_768] * 104


def test_size_stays_if_the_next_cell_takes_what_waits() -> None:
    cells = begun(BALANCED)
    cells.add(body(noise(3_000)))
    cells.add(END)
    assert {len(record) for record in all_cells(cells)} == {512}


def test_cells_have_room_until_more_waits_than_one_takes() -> None:
    cells = begun()
    room = []
    for size in (400, 100):
        room.append(cells.has_room)
        cells.add(body(noise(size)))
    room.append(cells.has_room)
    cells.cell()
    assert [*room, cells.has_room] == [True, True, False, True]


def test_too_much_between_two_cells_is_an_error() -> None:
    cells = begun()
    cells.add(body(bytes(65_536)))
    with pytest.raises(StateError, match="between two cells"):
        cells.add(body(bytes(65_536)))
    cells.cell()
    cells.add(body(bytes(65_536)))
    assert not cells.ended


def test_cell_is_not_inflated_beyond_its_bound() -> None:
    deflate = zlib.compressobj(wbits=-13)
    bomb = deflate.compress(bytes(50_000_000)) + deflate.flush(zlib.Z_PARTIAL_FLUSH)
    tracemalloc.start()
    with pytest.raises(ViolationError, match="holds too much"):
        CellReader().parts(bomb)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_parts_out_of_order_are_an_error() -> None:
    cells = response_sealer().in_cells(SMALL)
    with pytest.raises(StateError):
        cells.add(body(b"one"))
    cells.add(HEAD)
    cells.add(END)
    with pytest.raises(StateError):
        cells.add(body(b"one"))


def test_cells_begin_with_the_response() -> None:
    sealer = response_sealer()
    sealer.seal(head=HEAD.head)
    with pytest.raises(StateError, match="must begin with a cell"):
        sealer.in_cells(BALANCED)


@pytest.mark.parametrize(
    ("size", "total"), [(0, 16_384), (16_000, 16_384), (17_000, 32_768), (70_000, 131_072)]
)
def test_strict_response_without_cells_is_a_power_of_two(size: int, total: int) -> None:
    sealer = response_sealer()
    sealer.shape(STRICT)
    records = sealer.seal(head=HEAD.head) if size > 65_000 else []
    head = None if records else HEAD.head
    records += sealer.seal(head=head, body=bytes(size)[:65_536], tail=END.tail)
    assert sum(map(len, records)) == total


def test_records_of_a_shaped_response_are_padded_alone() -> None:
    sealer = response_sealer()
    sealer.shape(BALANCED)
    (head,), (first,) = sealer.seal(head=HEAD.head), sealer.seal(body=bytes(5_000))
    assert (len(head) - 32, len(first)) == (4_096, 5_120)
