"""Openers: every part in every stage, against the grammar written as regular expressions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

import pytest

from blindrelay.sealing import (
    OpenError,
    RequestOpener,
    ResponseOpener,
    SealingError,
    TruncatedError,
    ViolationError,
)
from blindrelay.sealing.records import RecordSealer
from blindrelay.v1.inner_pb2 import (
    ExchangeError,
    Frame,
    Header,
    RequestEnd,
    RequestHead,
    RequestPart,
    ResponseHead,
    ResponsePart,
    ResponseTail,
)
from blindrelay.v1.limits import MAX_BODY_PIECE, MAX_HEAD_SIZE

KEY = bytes(range(32))

Part = RequestPart | ResponsePart
Opener = RequestOpener | ResponseOpener

# One letter for each thing that can happen: head, body, end or tail, error, frame, padding.
REQUEST_WHOLE = "hb*ep*"
REQUEST_PREFIX = "(h(b*(ep*)?)?)?"
REQUEST_STAGES = ["", "h", "hb", "hbb", "he", "hbe", "hep", "hbepp"]
RESPONSE_WHOLE = "(hb*[tx]p*|xp*)"
RESPONSE_PREFIX = "(h(b*([tx]p*)?)?|xp*)?"
RESPONSE_STAGES = ["", "h", "hb", "hbb", "ht", "hbt", "htp", "x", "xp", "hx", "hbx", "hbxpp"]

REQUEST_FIELDS = {
    "h": RequestPart(head=RequestHead(method="POST")),
    "b": RequestPart(body=b"piece"),
    "e": RequestPart(end=RequestEnd()),
    "f": RequestPart(frame=Frame(opcode=1)),
}
RESPONSE_FIELDS = {
    "h": ResponsePart(head=ResponseHead(status=200)),
    "b": ResponsePart(body=b"piece"),
    "t": ResponsePart(tail=ResponseTail()),
    "x": ResponsePart(error=ExchangeError(message="no")),
    "f": ResponsePart(frame=Frame(opcode=1)),
}


def subsets(fields: dict[str, RequestPart] | dict[str, ResponsePart]) -> Iterator[str]:
    """Every set of fields that a part can have, in the order of their numbers."""
    for chosen in product([False, True], repeat=len(fields)):
        yield "".join(letter for letter, taken in zip(fields, chosen, strict=True) if taken)


def request_part(letters: str) -> RequestPart:
    part = RequestPart()
    for letter in letters:
        part.MergeFrom(REQUEST_FIELDS[letter])
    return part


def response_part(letters: str) -> ResponsePart:
    part = ResponsePart()
    for letter in letters:
        part.MergeFrom(RESPONSE_FIELDS[letter])
    return part


def part_of(kind: str, letters: str) -> Part:
    letters = letters.replace("p", "")
    return request_part(letters) if kind == "request" else response_part(letters)


def opener_of(kind: str) -> Opener:
    return RequestOpener(KEY) if kind == "request" else ResponseOpener(KEY)


CASES = [
    (kind, stage, letters, final)
    for kind, stages, fields in (
        ("request", REQUEST_STAGES, REQUEST_FIELDS),
        ("response", RESPONSE_STAGES, RESPONSE_FIELDS),
    )
    for stage in stages
    for letters in subsets(fields)
    for final in (False, True)
]


def test_every_part_in_every_stage() -> None:
    assert len(CASES) == 8 * 16 * 2 + 12 * 32 * 2
    outcomes = [check_part(*case) for case in CASES]
    assert (outcomes.count(True), outcomes.count(False)) == (84, 940)


def check_part(kind: str, stage: str, letters: str, final: bool) -> bool:
    """Whether the part was accepted, which must be what the grammar says."""
    prefix, whole = (
        (REQUEST_PREFIX, REQUEST_WHOLE) if kind == "request" else (RESPONSE_PREFIX, RESPONSE_WHOLE)
    )
    sealer, opener = RecordSealer(KEY), opener_of(kind)
    for letter in stage:
        opener.open(sealer.seal(part_of(kind, letter).SerializeToString()))
    ended = opener.ended
    assert ended == bool(re.fullmatch(whole, stage))
    so_far = stage + (letters or "p")
    allowed = bool(re.fullmatch(whole if final else prefix, so_far))
    part = part_of(kind, letters)
    sealed = sealer.seal(part.SerializeToString(), final=final)
    if allowed:
        assert opener.open(sealed) == part
        assert (opener.ended, opener.finished) == (bool(re.fullmatch(whole, so_far)), final)
    else:
        with pytest.raises(ViolationError) as caught:
            opener.open(sealed)
        check_failed(opener, caught.value, ended=ended)
    return allowed


def check_failed(opener: Opener, error: SealingError, *, ended: bool) -> None:
    """The failure is final, and the record that failed moved nothing."""
    for sealed in (b"", bytes(100), RecordSealer(KEY).seal(b"")):
        with pytest.raises(type(error), match=re.escape(str(error))):
            opener.open(sealed)
    with pytest.raises(type(error)):
        opener.close()
    assert (opener.ended, opener.finished) == (ended, False), "a failed record may not end the message"
    assert repr(opener).endswith("failed>>")


@pytest.mark.parametrize("kind", ["request", "response"])
def test_the_end_of_the_stream_in_every_stage(kind: str) -> None:
    for stage in REQUEST_STAGES if kind == "request" else RESPONSE_STAGES:
        sealer, opener = RecordSealer(KEY), opener_of(kind)
        for letter in stage:
            opener.open(sealer.seal(part_of(kind, letter).SerializeToString()))
        with pytest.raises(TruncatedError) as caught:
            opener.close()
        check_failed(opener, caught.value, ended=opener.ended)


@pytest.mark.parametrize("kind", ["request", "response"])
def test_nothing_is_read_after_the_final_record(kind: str) -> None:
    sealer, opener = RecordSealer(KEY), opener_of(kind)
    whole = part_of(kind, "he" if kind == "request" else "ht").SerializeToString()
    opener.open(sealer.seal(whole, final=True))
    opener.close()
    with pytest.raises(OpenError) as caught:
        opener.open(RecordSealer(KEY).seal(b""))
    check_failed(opener, caught.value, ended=True)


@pytest.mark.parametrize("kind", ["request", "response"])
@pytest.mark.parametrize("junk", [b"\x07", b"\x0a\x05abc", b"\xff" * 20, b"\x0a\x03\x12\x01\xff"])
def test_an_authentic_record_without_a_part_is_a_violation(kind: str, junk: bytes) -> None:
    opener = opener_of(kind)
    with pytest.raises(ViolationError, match="holds no part") as caught:
        opener.open(RecordSealer(KEY).seal(junk))
    check_failed(opener, caught.value, ended=False)


@pytest.mark.parametrize("kind", ["request", "response"])
def test_unknown_fields_are_ignored(kind: str) -> None:
    sealer, opener = RecordSealer(KEY), opener_of(kind)
    opener.open(sealer.seal(part_of(kind, "h").SerializeToString() + b"\x7a\x01x"))
    opener.open(sealer.seal(part_of(kind, "b").SerializeToString() + b"\x7a\x01x"))
    assert not opener.ended


@pytest.mark.parametrize("size", [MAX_HEAD_SIZE, MAX_HEAD_SIZE + 1])
@pytest.mark.parametrize("kind", ["request", "response"])
def test_the_largest_head(kind: str, size: int) -> None:
    part = part_of(kind, "h")
    filler = Header(name=b"x")
    part.head.headers.append(filler)
    while (missing := size - part.head.ByteSize()) > 0:
        grown = len(part.head.headers[0].value) + max(1, missing - 6)
        part.head.headers[0].value = bytes(grown)
    assert part.head.ByteSize() == size
    opener, sealed = opener_of(kind), RecordSealer(KEY).seal(part.SerializeToString())
    if size == MAX_HEAD_SIZE:
        assert opener.open(sealed) == part
        return
    with pytest.raises(ViolationError, match="32,768") as caught:
        opener.open(sealed)
    check_failed(opener, caught.value, ended=False)


@pytest.mark.parametrize("kind", ["request", "response"])
def test_the_largest_body_piece(kind: str) -> None:
    part, over = part_of(kind, ""), part_of(kind, "")
    part.body, over.body = bytes(MAX_BODY_PIECE), bytes(MAX_BODY_PIECE + 1)
    sealer, opener = RecordSealer(KEY), opener_of(kind)
    opener.open(sealer.seal(part_of(kind, "h").SerializeToString()))
    assert opener.open(sealer.seal(part.SerializeToString())) == part
    with pytest.raises(ViolationError, match="65,536") as caught:
        opener.open(sealer.seal(over.SerializeToString()))
    check_failed(opener, caught.value, ended=False)


@pytest.mark.parametrize(
    "status", [0, 1, 99, 100, 102, 199, 200, 204, 304, 404, 500, 599, 600, 999, 2**32 - 1]
)
def test_every_status_of_an_answer(status: int) -> None:
    opener = ResponseOpener(KEY)
    part = ResponsePart(head=ResponseHead(status=status), tail=ResponseTail())
    sealed = RecordSealer(KEY).seal(part.SerializeToString(), final=True)
    if 200 <= status <= 599:
        assert opener.open(sealed) == part
        assert opener.finished
        return
    with pytest.raises(ViolationError, match="200 to 599") as caught:
        opener.open(sealed)
    check_failed(opener, caught.value, ended=False)


@pytest.mark.parametrize("size", [1_024, 1_025])
def test_the_longest_error_message(size: int) -> None:
    opener = ResponseOpener(KEY)
    part = ResponsePart(error=ExchangeError(message="e" * size))
    sealed = RecordSealer(KEY).seal(part.SerializeToString(), final=True)
    if size == 1_024:
        assert opener.open(sealed) == part
        return
    with pytest.raises(ViolationError) as caught:
        opener.open(sealed)
    check_failed(opener, caught.value, ended=False)


def test_reprs_tell_states_and_no_secrets() -> None:
    assert repr(RequestOpener(KEY)) == "<RequestOpener, <RecordOpener, open>>"
    opener = ResponseOpener(KEY)
    opener.open(RecordSealer(KEY).seal(response_part("ht").SerializeToString(), final=True))
    assert repr(opener) == "<ResponseOpener, <RecordOpener, finished>>"
