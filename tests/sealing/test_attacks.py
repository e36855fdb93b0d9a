"""What a relay can do to an exchange's records: each alteration is a typed error, and no byte too many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.sealing import (
    OpenError,
    RequestOpener,
    RequestSealer,
    ResponseOpener,
    ResponseSealer,
    SealingError,
    TruncatedError,
)
from blindrelay.v1.inner_pb2 import (
    ExchangeError,
    RequestHead,
    RequestPart,
    ResponseHead,
    ResponsePart,
    ResponseTail,
)
from blindrelay.v1.limits import MAX_BODY_PIECE

Part = RequestPart | ResponsePart
Opener = RequestOpener | ResponseOpener
Records = list[bytes]

HEAD = RequestHead(method="POST", url="https://api.example/v1/chat/completions")
REQUEST_KEY, RESPONSE_KEY, OTHER_KEY = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32


def seal_request(key: bytes, pieces: Sequence[bytes] = (bytes(range(256)) * 550,)) -> Records:
    sealer = RequestSealer(key)
    sealer.head(HEAD)
    return [record for piece in pieces for record in sealer.body(piece)] + sealer.end()


def seal_response(key: bytes, pieces: Sequence[bytes] = (b"one", b"two", b"three")) -> Records:
    sealer = ResponseSealer(key)
    sealed = sealer.seal(head=ResponseHead(status=200))
    for piece in pieces:
        sealed += sealer.seal(body=piece)
    return sealed + sealer.seal(tail=ResponseTail())


def receive(opener: Opener, records: Sequence[bytes]) -> tuple[list[Part], SealingError | None]:
    """All that an end gets out of these records and the stream's end after them."""
    parts: list[Part] = []
    try:
        for record in records:
            parts.append(opener.open(record))
        opener.close()
    except SealingError as error:
        return parts, error
    return parts, None


@dataclass(frozen=True)
class Direction:
    """One direction as it was sent, and all else that a relay holds: records of other streams."""

    open: Callable[[], Opener]
    records: Records
    parts: list[Part]
    foreign: Records

    def check(self, altered: Records) -> None:
        """Only what was sent, in order, from the start; then an error, unless nothing was altered."""
        opened, error = receive(self.open(), altered)
        pairs = list(zip(self.records, altered, strict=False))
        valid = next((place for place, (one, other) in enumerate(pairs) if one != other), len(pairs))
        assert opened == self.parts[:valid]
        if altered == self.records:
            assert error is None
        else:
            assert type(error) is (TruncatedError if valid == len(altered) else OpenError)


def sent(open_: Callable[[], Opener], records: Records, foreign: Records) -> Direction:
    parts, error = receive(open_(), records)
    assert error is None
    assert len(records) >= 3
    return Direction(open_, records, parts, foreign)


@pytest.fixture(scope="module", params=["request", "response"])
def direction(request: pytest.FixtureRequest) -> Direction:
    """With it: the other direction's records, another exchange's, and those after the first of a second
    stream under the same key, which an end that answered twice would have made."""
    own_request, own_response = seal_request(REQUEST_KEY), seal_response(RESPONSE_KEY)
    foreign = seal_request(OTHER_KEY) + seal_response(OTHER_KEY)
    if request.param == "request":
        foreign += own_response + seal_request(REQUEST_KEY)[1:]
        return sent(lambda: RequestOpener(REQUEST_KEY), own_request, foreign)
    foreign += own_request + seal_response(RESPONSE_KEY)[1:]
    return sent(lambda: ResponseOpener(RESPONSE_KEY), own_response, foreign)


def test_unaltered(direction: Direction) -> None:
    direction.check(direction.records)


def test_cut_after_every_record(direction: Direction) -> None:
    for kept in range(len(direction.records)):
        direction.check(direction.records[:kept])


def test_every_record_left_out_or_sent_twice(direction: Direction) -> None:
    for place, record in enumerate(direction.records):
        direction.check(direction.records[:place] + direction.records[place + 1 :])
        for later in range(place, len(direction.records) + 1):
            direction.check([*direction.records[:later], record, *direction.records[later:]])


def test_every_two_records_swapped(direction: Direction) -> None:
    for one in range(len(direction.records)):
        for other in range(one + 1, len(direction.records)):
            altered = list(direction.records)
            altered[one], altered[other] = altered[other], altered[one]
            direction.check(altered)


def test_every_record_replaced_by_each_foreign_one(direction: Direction) -> None:
    for place in range(len(direction.records)):
        for foreign in direction.foreign:
            direction.check([*direction.records[:place], foreign, *direction.records[place + 1 :]])


def test_spliced_with_every_foreign_stream_at_every_place(direction: Direction) -> None:
    for place in range(len(direction.records) + 1):
        for start in range(len(direction.foreign)):
            direction.check(direction.records[:place] + direction.foreign[start:])


@given(st.data())
def test_any_order(direction: Direction, data: st.DataObject) -> None:
    direction.check(data.draw(st.permutations(direction.records)))


@given(st.data())
def test_any_choice_of_all_records_that_a_relay_holds(direction: Direction, data: st.DataObject) -> None:
    held = st.sampled_from(direction.records + direction.foreign)
    direction.check(direction.records[: data.draw(st.integers(0, 3))] + data.draw(st.lists(held, max_size=5)))


def alter(data: st.DataObject, record: bytes) -> bytes:
    """A record with a bit flipped, a piece cut out, or bytes put in, anywhere."""
    place = data.draw(st.integers(0, len(record) - 1))
    match data.draw(st.sampled_from(["flip", "cut", "cut off", "put in"])):
        case "flip":
            flipped = record[place] ^ (1 << data.draw(st.integers(0, 7)))
            return record[:place] + bytes([flipped]) + record[place + 1 :]
        case "cut":
            return record[:place] + record[place + data.draw(st.integers(1, 64)) :]
        case "cut off":
            return record[:place]
        case _:
            return record[:place] + data.draw(st.binary(min_size=1, max_size=64)) + record[place:]


@given(st.data())
def test_any_alteration_of_any_record(direction: Direction, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(direction.records) - 1))
    altered = list(direction.records)
    altered[place] = alter(data, altered[place])
    direction.check(altered)


@given(st.data())
def test_any_bytes_after_the_end(direction: Direction, data: st.DataObject) -> None:
    direction.check(direction.records + data.draw(st.lists(st.binary(max_size=200), max_size=3)))


@given(st.data())
def test_records_cut_at_other_places(direction: Direction, data: st.DataObject) -> None:
    """The same bytes in other messages: where a record ends is part of what is sealed."""
    stream = b"".join(direction.records)
    places = data.draw(st.lists(st.integers(1, len(stream) - 1), max_size=6, unique=True).map(sorted))
    edges = [0, *places, len(stream)]
    direction.check([stream[start:end] for start, end in pairwise(edges)])


SIZES = st.lists(st.one_of(st.integers(0, 300), st.integers(0, MAX_BODY_PIECE)), max_size=6)


def piece(size: int, place: int) -> bytes:
    return bytes([place + 1]) * size


@given(SIZES, st.booleans())
def test_any_pieces_make_the_same_request(sizes: list[int], in_one: bool) -> None:
    pieces = [piece(size, place) for place, size in enumerate(sizes)]
    records = seal_request(REQUEST_KEY, [b"".join(pieces)] if in_one else pieces)
    parts, error = receive(RequestOpener(REQUEST_KEY), records)
    assert error is None
    assert parts[0].head == HEAD
    assert b"".join(part.body for part in parts) == b"".join(pieces)


@given(SIZES, st.booleans())
def test_any_pieces_make_the_same_answer(sizes: list[int], broken: bool) -> None:
    sealer, opener = ResponseSealer(RESPONSE_KEY), ResponseOpener(RESPONSE_KEY)
    records = sealer.seal(head=ResponseHead(status=206))
    for place, size in enumerate(sizes):
        records += sealer.seal(body=piece(size, place))
    failure = ExchangeError(message="the provider broke off")
    records += sealer.seal(error=failure) if broken else sealer.seal(tail=ResponseTail())
    parts, error = receive(opener, records)
    assert error is None
    answer = [part for part in parts if isinstance(part, ResponsePart)]
    received = [part.body for part in answer if part.HasField("body")]
    assert received == [piece(size, place) for place, size in enumerate(sizes)]
    assert [part.error for part in answer if part.HasField("error")] == [failure] * broken
