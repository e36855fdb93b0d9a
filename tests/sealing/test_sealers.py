"""Sealers: what they seal, what they refuse, and what the sizes of their records show."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.sealing import RequestSealer, ResponseSealer, StateError
from blindrelay.sealing.padding import FLOOR, padme
from blindrelay.v1.inner_pb2 import (
    ExchangeError,
    Header,
    RequestHead,
    ResponseHead,
    ResponsePart,
    ResponseTail,
)
from blindrelay.v1.limits import MAX_BODY_PIECE, MAX_HEAD_SIZE, MAX_SEALED_SIZE

from .known_key import request_opener, request_sealer, response_opener, response_sealer

HEAD = RequestHead(method="POST", url="https://api.example/v1/chat")
LARGE_HEAD = RequestHead(headers=[Header(name=b"x", value=bytes(MAX_HEAD_SIZE))])

REQUEST_STEPS: dict[str, Callable[[RequestSealer], object]] = {
    "h": lambda sealer: sealer.head(HEAD),
    "b": lambda sealer: sealer.body(b"piece"),
    "e": lambda sealer: sealer.end(),
}


def test_request_steps_in_every_order() -> None:
    for steps in product(REQUEST_STEPS, repeat=4):
        sealer, done = request_sealer(), ""
        for step in steps:
            if re.fullmatch("(h(b*e?)?)?", done + step):
                REQUEST_STEPS[step](sealer)
                done += step
            else:
                with pytest.raises(StateError):
                    REQUEST_STEPS[step](sealer)
        assert sealer.ended == bool(re.fullmatch("hb*e", done))


def seal(sealer: ResponseSealer, letters: str) -> list[bytes]:
    return sealer.seal(
        head=ResponseHead(status=200) if "h" in letters else None,
        body=b"piece" if "b" in letters else None,
        tail=ResponseTail() if "t" in letters else None,
        error=ExchangeError(message="no") if "x" in letters else None,
    )


@pytest.mark.parametrize("stage", ["", "h", "hb", "ht", "x", "hx", "hbt"])
def test_response_parts_in_every_stage(stage: str) -> None:
    """A refused call changes nothing: the bridge can still seal an error."""
    for chosen in (each for size in range(5) for each in combinations("hbtx", size)):
        letters = "".join(chosen)
        sealer, opener = response_sealer(), response_opener()
        for letter in stage:
            for record in seal(sealer, letter):
                opener.open(record)
        if not letters or not re.fullmatch("(h(b*[tx]?)?|x)?", stage + letters):
            with pytest.raises(StateError):
                seal(sealer, letters)
            letters = "" if sealer.ended else "x"
        for record in seal(sealer, letters) if letters else []:
            opener.open(record)
        assert sealer.ended == opener.finished == bool(set(stage + letters) & set("tx"))


def test_small_exchange_is_one_record_of_the_floor_each_way() -> None:
    response = response_sealer().seal(head=ResponseHead(status=200), body=b"Paris.", tail=ResponseTail())
    failure = response_sealer().seal(error=ExchangeError(message="the provider could not be reached"))
    for records in (request_records([b"prompt"]), response, failure):
        assert [len(record) for record in records] == [FLOOR]


def request_records(body: list[bytes], head: RequestHead = HEAD) -> list[bytes]:
    sealer = request_sealer()
    sealer.head(head)
    return [record for piece in body for record in sealer.body(piece)] + sealer.end()


@given(st.lists(st.one_of(st.integers(0, 300), st.integers(0, 100_000)), max_size=6))
def test_request_does_not_show_how_its_body_came(sizes: list[int]) -> None:
    pieces = [bytes([place + 1]) * size for place, size in enumerate(sizes)]
    body = b"".join(pieces)
    records, opener = request_records(pieces), request_opener()
    assert list(map(len, records)) == list(map(len, request_records([body])))
    parts = [opener.open(record) for record in records]
    opener.close()
    assert (parts[0].head, b"".join(part.body for part in parts)) == (HEAD, body)


@pytest.mark.parametrize("size", [70_000, 500_000, 4_300_000])
def test_request_shows_its_padded_size_and_no_more(size: int) -> None:
    """All bodies between two padded sizes give records of the same number and sizes."""
    shapes: dict[int, set[tuple[int, ...]]] = {}
    for more in range(0, 150_000, 11_003):
        sizes = tuple(map(len, request_records([bytes(size + more)])))
        shapes.setdefault(sum(sizes), set()).add(sizes)
    assert all(padme(total) == total for total in shapes)
    assert {total: len(seen) for total, seen in shapes.items()} == dict.fromkeys(shapes, 1)


@pytest.mark.parametrize("fill", [0, 1, 127, 128, 16_383, 16_384, 32_700])
def test_full_records_of_a_request_have_one_size(fill: int) -> None:
    head = RequestHead(method="POST", headers=[Header(name=b"x", value=bytes(fill))])
    first, *more, _ = (len(record) for record in request_records([bytes(400_000)], head=head))
    assert first == 65_616
    assert set(more) == {65_616}


@pytest.mark.parametrize("less", range(-6, 7))
def test_body_around_a_full_record(less: int) -> None:
    """The end, or one more byte, may need another record."""
    room = 65_596 - (HEAD.ByteSize() + 4) - 4 - 2
    for records in (1, 2, 3):
        size = room + (records - 1) * 65_536 - less
        sealed, opener = request_records([bytes(size)]), request_opener()
        assert sum(len(opener.open(record).body) for record in sealed) == size
        opener.close()
        total = sum(map(len, sealed))
        assert padme(total) == total


def test_limits_are_refused_and_can_be_mended() -> None:
    request = request_sealer()
    with pytest.raises(StateError, match="32,768"):
        request.head(LARGE_HEAD)
    request.head(HEAD)
    assert request.end()
    response = response_sealer()
    with pytest.raises(StateError, match="32,768"):
        response.seal(head=ResponseHead(status=200, headers=LARGE_HEAD.headers))
    response.seal(head=ResponseHead(status=200))
    with pytest.raises(StateError, match="65,536"):
        response.seal(body=bytes(MAX_BODY_PIECE + 1))
    (record,) = response.seal(body=bytes(MAX_BODY_PIECE))
    assert len(record) == 20 + 4 + MAX_BODY_PIECE
    with pytest.raises(StateError, match="1,024"):
        response.seal(error=ExchangeError(message="e" * 1_025))
    assert response.seal(error=ExchangeError(message="e" * 1_024))
    assert repr(response) == "<ResponseSealer, ended>"


def test_head_is_sealed_as_it_was_given() -> None:
    head = RequestHead(method="POST", url="https://api.example/")
    request = request_sealer()
    request.head(head)
    head.url = "https://other.example/"
    (record,) = request.end()
    assert request_opener().open(record).head.url == "https://api.example/"


@pytest.mark.parametrize("head_size", [0, 100, 30_000])
@pytest.mark.parametrize("body_size", [0, 35_000, 36_000, MAX_BODY_PIECE - 100, MAX_BODY_PIECE])
def test_head_body_and_tail_in_one_call(head_size: int, body_size: int) -> None:
    """They are one record if they fit, or two; none is over the limit."""
    head = ResponseHead(status=200, headers=[Header(name=b"x", value=bytes(head_size))])
    records = response_sealer().seal(head=head, body=bytes(body_size), tail=ResponseTail())
    assert all(len(record) <= MAX_SEALED_SIZE for record in records)
    opener = response_opener()
    parts = [opener.open(record) for record in records]
    opener.close()
    assert (parts[0].head, b"".join(part.body for part in parts)) == (head, bytes(body_size))
    assert padme(sum(map(len, records))) == sum(map(len, records))


def test_response_leaves_piece_by_piece() -> None:
    sealer, opener = response_sealer(), response_opener()
    (record,) = sealer.seal(head=ResponseHead(status=200))
    assert opener.open(record).head.status == 200
    for piece in (b"data: 1\n\n", b"data: 2\n\n", b""):
        (record,) = sealer.seal(body=piece)
        assert opener.open(record) == ResponsePart(body=piece)
