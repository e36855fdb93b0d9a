"""A relay may alter, drop, repeat, reorder and splice records: only a valid prefix opens, then an error.

The vectors and the fuzzer have each attack alone; these properties combine them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
from blindrelay.v1.inner_pb2 import RequestHead, RequestPart, ResponseHead, ResponsePart, ResponseTail

Opener = RequestOpener | ResponseOpener

REQUEST_KEY, RESPONSE_KEY, OTHER_KEY = KEYS = [bytes([number]) * 32 for number in range(3)]


def sealed_request(key: bytes) -> list[bytes]:
    sealer = RequestSealer(key)
    sealer.head(RequestHead(method="POST", url="https://api.example/v1/chat/completions"))
    return sealer.body(bytes(150_000)) + sealer.end()


def sealed_response(key: bytes) -> list[bytes]:
    sealer = ResponseSealer(key)
    head, tail = ResponseHead(status=200), ResponseTail()
    return (
        sealer.seal(head=head) + sealer.seal(body=b"one") + sealer.seal(body=b"two") + sealer.seal(tail=tail)
    )


def receive(
    opener: Opener, records: Sequence[bytes]
) -> tuple[list[RequestPart | ResponsePart], SealingError | None]:
    """The parts that open, and the error that ends the stream."""
    parts: list[RequestPart | ResponsePart] = []
    try:
        for record in records:
            parts.append(opener.open(record))
        opener.close()
    except SealingError as error:
        return parts, error
    return parts, None


@dataclass(frozen=True)
class Direction:
    """The records of one direction, and the records of other streams that a relay also has."""

    new_opener: Callable[[], Opener]
    records: list[bytes]
    foreign: list[bytes]

    def check(self, altered: list[bytes]) -> None:
        """The valid prefix opens and nothing else; there is an error unless nothing was altered."""
        sent, _ = receive(self.new_opener(), self.records)
        opened, error = receive(self.new_opener(), altered)
        pairs = list(zip(self.records, altered, strict=False))
        valid = next((place for place, (one, other) in enumerate(pairs) if one != other), len(pairs))
        assert opened == sent[:valid]
        if altered == self.records:
            assert error is None
        else:
            assert type(error) is (TruncatedError if valid == len(altered) else OpenError)


@pytest.fixture(scope="module", params=["request", "response"])
def direction(request: pytest.FixtureRequest) -> Direction:
    """Foreign are the other direction, another exchange, and a second stream under the same key."""
    requests, responses = ([seal(key) for key in KEYS] for seal in (sealed_request, sealed_response))
    if request.param == "request":
        foreign = responses[1] + requests[2] + sealed_request(REQUEST_KEY)[1:]
        return Direction(lambda: RequestOpener(REQUEST_KEY), requests[0], foreign)
    foreign = requests[0] + responses[2] + sealed_response(RESPONSE_KEY)[1:]
    return Direction(lambda: ResponseOpener(RESPONSE_KEY), responses[1], foreign)


@given(st.data())
def test_any_choice_of_known_records(direction: Direction, data: st.DataObject) -> None:
    known = st.sampled_from(direction.records + direction.foreign)
    direction.check(
        direction.records[: data.draw(st.integers(0, 4))] + data.draw(st.lists(known, max_size=5))
    )


@given(st.data())
def test_any_alteration_of_any_record(direction: Direction, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(direction.records) - 1))
    record = direction.records[place]
    start = data.draw(st.integers(0, len(record)))
    end = data.draw(st.integers(start, min(len(record), start + 64)))
    altered = record[:start] + data.draw(st.binary(max_size=64)) + record[end:]
    direction.check([*direction.records[:place], altered, *direction.records[place + 1 :]])
