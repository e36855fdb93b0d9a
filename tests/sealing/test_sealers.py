"""Sealers: what they make of a message, what they refuse to make, and what their records show."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product

import pytest

from blindrelay.sealing import (
    RequestOpener,
    RequestSealer,
    ResponseOpener,
    ResponseSealer,
    StateError,
)
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

KEY = bytes(range(32))
HEAD = RequestHead(method="POST", url="https://api.example/v1/chat")

RequestStep = Callable[[RequestSealer], object]

REQUEST_STEPS: dict[str, RequestStep] = {
    "h": lambda sealer: sealer.head(HEAD),
    "b": lambda sealer: sealer.body(b"piece"),
    "e": lambda sealer: sealer.end(),
}


def test_request_steps_in_every_order() -> None:
    for steps in product(REQUEST_STEPS, repeat=4):
        sealer, done = RequestSealer(KEY), ""
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
def test_answers_of_every_part_in_every_stage(stage: str) -> None:
    """What is refused leaves the sealer as it was: the bridge can still say what went wrong."""
    for chosen in product([False, True], repeat=4):
        letters = "".join(letter for letter, taken in zip("hbtx", chosen, strict=True) if taken)
        sealer, opener = ResponseSealer(KEY), ResponseOpener(KEY)
        for letter in stage:
            for record in seal(sealer, letter):
                opener.open(record)
        if letters and re.fullmatch("(h(b*[tx]?)?|x)?", stage + letters):
            for record in seal(sealer, letters):
                opener.open(record)
            assert sealer.ended == opener.finished == bool(set(stage + letters) & set("tx"))
            continue
        with pytest.raises(StateError):
            seal(sealer, letters)
        if not set(stage) & set("tx"):
            for record in seal(sealer, "x"):
                opener.open(record)
            assert opener.finished


def test_a_small_exchange_is_one_record_of_the_floor_each_way() -> None:
    request = RequestSealer(KEY)
    request.head(HEAD)
    assert request.body(b"prompt") == []
    answer = ResponseSealer(KEY).seal(head=ResponseHead(status=200), body=b"answer", tail=ResponseTail())
    failure = ResponseSealer(KEY).seal(error=ExchangeError(message="the provider could not be reached"))
    for records in (request.end(), answer, failure):
        assert [len(record) for record in records] == [FLOOR]


def request_records(body_size: int, pieces: int = 1, head: RequestHead = HEAD) -> list[bytes]:
    sealer = RequestSealer(KEY)
    sealer.head(head)
    records: list[bytes] = []
    for place in range(pieces):
        records += sealer.body(bytes(body_size * (place + 1) // pieces - body_size * place // pieces))
    return records + sealer.end()


@pytest.mark.parametrize("size", [0, 1, 65_000, 65_536, 70_000, 131_072, 500_000, 3_000_000])
def test_a_requests_records_do_not_show_how_its_body_came(size: int) -> None:
    shapes = {tuple(map(len, request_records(size, pieces))) for pieces in (1, 2, 7, 100)}
    assert len(shapes) == 1


@pytest.mark.parametrize("size", [70_000, 500_000, 2_500_000, 4_300_000, 9_000_000])
def test_a_requests_records_show_its_padded_size_and_no_more(size: int) -> None:
    """All bodies between two padded sizes look alike: sum, number and sizes of their records."""
    shapes: dict[int, set[tuple[int, ...]]] = {}
    for more in range(0, 150_000, 11_003):
        sizes = tuple(map(len, request_records(size + more)))
        shapes.setdefault(sum(sizes), set()).add(sizes)
    assert all(padme(total) == total for total in shapes)
    assert {total: len(seen) for total, seen in shapes.items()} == dict.fromkeys(shapes, 1)


@pytest.mark.parametrize("fill", [0, 1, 127, 128, 16_383, 16_384, 32_700])
def test_a_requests_full_records_are_all_of_one_size(fill: int) -> None:
    head = RequestHead(method="POST", headers=[Header(name=b"x", value=bytes(fill))])
    assert head.ByteSize() <= MAX_HEAD_SIZE
    first, *more, _ = (len(record) for record in request_records(400_000, head=head))
    assert first == 24 + 65_617
    assert set(more) == {65_617}


@pytest.mark.parametrize("less", range(-6, 7))
def test_bodies_around_a_full_record(less: int) -> None:
    """Where the end, or one more byte, makes another record."""
    room = 65_596 - (HEAD.ByteSize() + 4) - 4 - 2
    for records in (1, 2, 3):
        sealed = request_records(room + (records - 1) * 65_536 - less)
        opener = RequestOpener(KEY)
        body = b"".join(opener.open(record).body for record in sealed)
        opener.close()
        assert len(body) == room + (records - 1) * 65_536 - less
        total = sum(map(len, sealed))
        assert padme(total) == total


def test_a_head_over_the_limit_is_refused_and_can_be_replaced() -> None:
    large = RequestHead(headers=[Header(name=b"x", value=bytes(MAX_HEAD_SIZE))])
    request = RequestSealer(KEY)
    with pytest.raises(StateError, match="32,768"):
        request.head(large)
    request.head(HEAD)
    assert request.end()
    answer = ResponseSealer(KEY)
    with pytest.raises(StateError, match="32,768"):
        answer.seal(head=ResponseHead(status=200, headers=large.headers))
    assert answer.seal(error=ExchangeError(message="its headers are too large"))


def test_a_head_that_the_caller_changes_later_is_sealed_as_it_was() -> None:
    head = RequestHead(method="POST", url="https://api.example/")
    request = RequestSealer(KEY)
    request.head(head)
    head.url = "https://elsewhere.example/"
    (record,) = request.end()
    assert RequestOpener(KEY).open(record).head.url == "https://api.example/"


def test_a_body_piece_over_the_limit_is_refused() -> None:
    answer = ResponseSealer(KEY)
    answer.seal(head=ResponseHead(status=200))
    with pytest.raises(StateError, match="65,536"):
        answer.seal(body=bytes(MAX_BODY_PIECE + 1))
    (record,) = answer.seal(body=bytes(MAX_BODY_PIECE))
    assert len(record) == 21 + 4 + MAX_BODY_PIECE


def test_an_error_message_over_the_limit_is_refused() -> None:
    answer = ResponseSealer(KEY)
    with pytest.raises(StateError, match="1,024"):
        answer.seal(error=ExchangeError(message="e" * 1_025))
    assert answer.seal(error=ExchangeError(message="e" * 1_024))


@pytest.mark.parametrize("head_size", [0, 100, 30_000])
@pytest.mark.parametrize("body_size", [0, 35_000, 36_000, MAX_BODY_PIECE - 100, MAX_BODY_PIECE])
def test_head_body_and_tail_in_one_call(head_size: int, body_size: int) -> None:
    """One record where they fit, two where not; never one over the limit."""
    head = ResponseHead(status=200, headers=[Header(name=b"x", value=bytes(head_size))])
    records = ResponseSealer(KEY).seal(head=head, body=bytes(body_size), tail=ResponseTail())
    assert all(len(record) <= MAX_SEALED_SIZE for record in records)
    opener = ResponseOpener(KEY)
    parts = [opener.open(record) for record in records]
    opener.close()
    assert parts[0].head == head
    assert b"".join(part.body for part in parts) == bytes(body_size)
    assert padme(sum(map(len, records))) == sum(map(len, records))


def test_an_answer_leaves_piece_by_piece() -> None:
    """Each call gives records that open at once; nothing is held back."""
    sealer, opener = ResponseSealer(KEY), ResponseOpener(KEY)
    (record,) = sealer.seal(head=ResponseHead(status=200))
    assert opener.open(record).head.status == 200
    for piece in (b"data: 1\n\n", b"data: 2\n\n", b""):
        (record,) = sealer.seal(body=piece)
        assert opener.open(record) == ResponsePart(body=piece)
        assert not opener.ended
    for record in sealer.seal(tail=ResponseTail()):
        opener.open(record)
    assert (opener.ended, opener.finished) == (True, True)


def test_reprs_tell_states_and_no_secrets() -> None:
    request, response = RequestSealer(KEY), ResponseSealer(KEY)
    assert (repr(request), repr(response)) == ("<RequestSealer, open>", "<ResponseSealer, open>")
    response.seal(error=ExchangeError(message="no"))
    assert repr(response) == "<ResponseSealer, ended>"
