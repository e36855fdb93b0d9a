"""Tunnels in cells: frames both ways, in cells whose size and number do not depend on them (section 9.6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.sealing import (
    BALANCED,
    STRICT,
    CellSealer,
    CellShape,
    RequestOpener,
    ResponseOpener,
    SealingError,
    StateError,
    TruncatedError,
    ViolationError,
    close_frame,
    data_frames,
)
from blindrelay.v1.inner_pb2 import (
    EXCHANGE_KIND_TUNNEL,
    Frame,
    RequestEnd,
    RequestHead,
    RequestPart,
    ResponseHead,
    ResponsePart,
    ResponseTail,
)

from .known_key import (
    Vector,
    derive_key_of,
    request_opener,
    request_sealer,
    response_opener,
    response_sealer,
)

HEAD = RequestHead(kind=EXCHANGE_KIND_TUNNEL, method="GET", url="https://api.openai.com/v1/realtime")
SWITCHED = ResponseHead(status=101)
FRAMES = st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=300)), max_size=20)


def begun(direction: str, shape: CellShape) -> tuple[CellSealer, Any]:
    """The cells of a direction whose head has been sealed and opened, and the opener."""
    if direction == "request":
        request, request_reader = request_sealer(), request_opener()
        for record in request.open_tunnel(HEAD):
            request_reader.open(record)
        return request.tunnel_in_cells(shape), request_reader
    response, response_reader = response_sealer(), response_opener()
    for record in response.seal(head=SWITCHED):
        response_reader.open(record)
    return response.tunnel_in_cells(shape), response_reader


def framed(direction: str, frame: Frame) -> RequestPart | ResponsePart:
    return RequestPart(frame=frame) if direction == "request" else ResponsePart(frame=frame)


def end(direction: str) -> RequestPart | ResponsePart:
    return RequestPart(end=RequestEnd()) if direction == "request" else ResponsePart(tail=ResponseTail())


@pytest.mark.parametrize("shape", [BALANCED, STRICT], ids=["balanced", "strict"])
@pytest.mark.parametrize("direction", ["request", "response"])
@given(said=FRAMES)
def test_frames_come_whole_in_cells_of_one_size(
    direction: str, shape: CellShape, said: list[tuple[int, bytes]]
) -> None:
    cells, opener = begun(direction, replace(shape, run=10_000))
    sent, sealed = [frame for _, data in said for frame in data_frames(2, data)], list[bytes]()
    for (ticks, _), frame in zip(said, sent, strict=True):
        sealed += [cells.cell() for _ in range(ticks)]
        cells.add(framed(direction, frame))
    cells.add(framed(direction, close_frame(1000)))
    cells.add(end(direction))
    while not cells.finished:
        sealed.append(cells.cell())
    parts = [part for record in sealed for part in opener.parts(record)]
    opener.close()
    assert [part.frame for part in parts[:-1]] == [*sent, close_frame(1000)]
    assert {len(record) for record in sealed} == {shape.sizes[0]}


@pytest.mark.parametrize("direction", ["request", "response"])
def test_cell_with_the_end_is_the_last_one(direction: str) -> None:
    cells, opener = begun(direction, BALANCED)
    assert opener.parts(cells.cell()) == []
    cells.add(framed(direction, close_frame(None)))
    cells.add(end(direction))
    assert len(opener.parts(cells.cell())) == 2
    assert (cells.finished, opener.finished) == (True, True)
    with pytest.raises(StateError):
        cells.cell()


@pytest.mark.parametrize("direction", ["request", "response"])
def test_frame_that_may_not_follow_is_not_sealed(direction: str) -> None:
    cells, _ = begun(direction, BALANCED)
    with pytest.raises(StateError):
        cells.add(framed(direction, Frame(opcode=0, fin=True)))


def test_exchange_is_no_tunnel_in_cells() -> None:
    with pytest.raises(StateError):
        response_sealer().tunnel_in_cells(BALANCED)


def test_vector(tunnel_cells_vector: Vector) -> None:
    kind = RequestOpener if tunnel_cells_vector["direction"] == "request" else ResponseOpener
    opener: Any = kind(derive_key_of(tunnel_cells_vector))
    records = [bytes.fromhex(record) for record in tunnel_cells_vector["records"]]
    opens = tunnel_cells_vector["opens"]
    parts = [part for record in records[:opens] for part in opener.parts(record)]
    assert [part.SerializeToString(deterministic=True).hex() for part in parts] == tunnel_cells_vector[
        "parts"
    ]
    if tunnel_cells_vector["expect"] == "accept":
        opener.close()
        return
    errors: dict[str, type[SealingError]] = {"violation": ViolationError, "truncated": TruncatedError}
    with pytest.raises(errors[tunnel_cells_vector["expect"]]):
        opener.parts(records[opens]) if records[opens:] else opener.close()


@pytest.mark.parametrize("direction", ["request", "response"])
def test_no_more_is_added_than_one_cell_may_inflate_to(direction: str) -> None:
    """Bytes that compress to almost nothing: a cell would take megabytes of them."""
    cells, opener = begun(direction, BALANCED)
    frames, sent = data_frames(2, bytes(1_000_000)), 0
    while sent < len(frames):
        while cells.has_room and sent < len(frames):
            cells.add(framed(direction, frames[sent]))
            sent += 1
        opener.parts(cells.cell())
