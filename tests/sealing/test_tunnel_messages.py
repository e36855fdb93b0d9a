"""Tunnels: every part in every stage against the grammar, every frame after every other, and padding."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.sealing import (
    RequestOpener,
    RequestSealer,
    ResponseOpener,
    ResponseSealer,
    StateError,
    TruncatedError,
    ViolationError,
    close_frame,
    close_reason,
    is_close_code,
)
from blindrelay.sealing.padding import RECORD_OVERHEAD, TUNNEL_FLOOR, padme
from blindrelay.sealing.records import HEADER_SIZE, RecordSealer
from blindrelay.v1.inner_pb2 import (
    EXCHANGE_KIND_EXCHANGE,
    EXCHANGE_KIND_TUNNEL,
    ExchangeError,
    Frame,
    RequestEnd,
    RequestHead,
    RequestPart,
    ResponseHead,
    ResponsePart,
    ResponseTail,
)
from blindrelay.v1.limits import MAX_FRAME_DATA, MAX_HEAD_SIZE, MAX_SEALED_SIZE

KEY = bytes(range(32))
HEAD = RequestHead(kind=EXCHANGE_KIND_TUNNEL, method="GET", url="https://api.openai.com/v1/realtime")
SWITCHED = ResponseHead(status=101)
TEXT = Frame(opcode=1, fin=True, data=b"{}")
CLOSE = close_frame(1000)

# One letter for each part: tunnel head, frame, close, body, end or tail, error, padding.
REQUEST_PARTS = {
    "h": RequestPart(head=HEAD),
    "f": RequestPart(frame=TEXT),
    "c": RequestPart(frame=CLOSE),
    "b": RequestPart(body=b"piece"),
    "e": RequestPart(end=RequestEnd()),
    "p": RequestPart(),
}
RESPONSE_PARTS = {
    "h": ResponsePart(head=SWITCHED),
    "f": ResponsePart(frame=TEXT),
    "c": ResponsePart(frame=CLOSE),
    "b": ResponsePart(body=b"piece"),
    "t": ResponsePart(tail=ResponseTail()),
    "x": ResponsePart(error=ExchangeError(message="no")),
    "p": ResponsePart(),
}
REQUEST_PREFIX = "(h(f*(c?(ep*)?)?)?)?"
REQUEST_WHOLE = "hf*c?ep*"
RESPONSE_PREFIX = "(h(f*(c(tp*)?|c?(xp*)?)?)?|xp*)?"
RESPONSE_WHOLE = "(hf*(ct|c?x)p*|xp*)"


@pytest.mark.parametrize(
    ("parts", "opener_type", "prefix", "whole"),
    [
        (REQUEST_PARTS, RequestOpener, REQUEST_PREFIX, REQUEST_WHOLE),
        (RESPONSE_PARTS, ResponseOpener, RESPONSE_PREFIX, RESPONSE_WHOLE),
    ],
)
def test_every_part_in_every_stage(
    parts: dict[str, RequestPart], opener_type: type, prefix: str, whole: str
) -> None:
    accepted = 0
    for stage in product(parts, repeat=4):
        sealer, opener, done = RecordSealer(KEY), opener_type(KEY), ""
        for letter in stage:
            sealed = sealer.seal(parts[letter].SerializeToString())
            if not re.fullmatch(prefix, done + letter):
                with pytest.raises(ViolationError, match="cannot come here"):
                    opener.open(sealed)
                break
            assert opener.open(sealed) == parts[letter]
            done += letter
            accepted += 1
            assert opener.ended == bool(re.fullmatch(whole, done))
        if done:
            with pytest.raises((TruncatedError, ViolationError)):
                opener.close()
    assert accepted > 100


@pytest.mark.parametrize("letters", ["hf", "hc", "ct", "ft", "fx", "hx"])
def test_several_fields_of_one_part_count_in_the_order_of_their_numbers(letters: str) -> None:
    """A tail has a lower number than the frame that it would have to follow."""
    part = ResponsePart()
    for letter in letters:
        part.MergeFrom(RESPONSE_PARTS[letter])
    sealer, opener = RecordSealer(KEY), ResponseOpener(KEY)
    if "h" not in letters:
        opener.open(sealer.seal(RESPONSE_PARTS["h"].SerializeToString()))
    sealed = sealer.seal(part.SerializeToString())
    if letters in ("hf", "hc", "hx"):
        assert opener.open(sealed) == part
        return
    with pytest.raises(ViolationError):
        opener.open(sealed)


def test_a_close_in_the_record_of_the_head_is_judged_too() -> None:
    part = RequestPart(head=HEAD, frame=Frame(opcode=8, fin=True, data=b"x"))
    with pytest.raises(ViolationError, match="2 to 125"):
        RequestOpener(KEY).open(RecordSealer(KEY).seal(part.SerializeToString()))


def test_a_frame_in_an_exchange_is_refused() -> None:
    for head in (
        RequestPart(head=RequestHead(kind=EXCHANGE_KIND_EXCHANGE)),
        ResponsePart(head=ResponseHead(status=200)),
    ):
        opener = RequestOpener(KEY) if isinstance(head, RequestPart) else ResponseOpener(KEY)
        sealer = RecordSealer(KEY)
        opener.open(sealer.seal(head.SerializeToString()))
        with pytest.raises(ViolationError, match="frame cannot come here"):
            opener.open(sealer.seal(type(head)(frame=TEXT).SerializeToString()))


FRAMES = [
    Frame(opcode=opcode, fin=fin, data=b"ab")
    for opcode in (0, 1, 2, 3, 7, 9, 10, 11, 2**32 - 1)
    for fin in (False, True)
]


def is_legal(frames: tuple[Frame, ...]) -> bool:
    """RFC 6455, section 5.4, as a regular expression over letters: small for fin."""
    names = {
        (1, True): "t",
        (1, False): "T",
        (2, True): "b",
        (2, False): "B",
        (0, True): "c",
        (0, False): "C",
    }
    letters = "".join(names.get((frame.opcode, frame.fin), "?") for frame in frames)
    return bool(re.fullmatch("(t|b|[TB]C*c)*([TB]C*)?", letters))


def test_every_frame_after_every_other() -> None:
    outcomes = set()
    for frames in product(FRAMES, repeat=3):
        sealer, opener = RecordSealer(KEY), RequestOpener(KEY)
        opener.open(sealer.seal(REQUEST_PARTS["h"].SerializeToString()))
        wrong = False
        for frame in frames:
            try:
                opener.open(sealer.seal(RequestPart(frame=frame).SerializeToString()))
            except ViolationError:
                wrong = True
                break
        assert wrong is not is_legal(frames), frames
        outcomes.add(wrong)
    assert outcomes == {True, False}


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (Frame(opcode=1, fin=True, data=bytes(MAX_FRAME_DATA + 1)), "65,536"),
        (Frame(opcode=8, fin=False, data=b"\x03\xe8"), "one frame"),
        (Frame(opcode=8, fin=True, data=b"\x03"), "2 to 125"),
        (Frame(opcode=8, fin=True, data=b"\x03\xe8" + b"x" * 124), "2 to 125"),
        (Frame(opcode=8, fin=True, data=b"\x03\xe8\xff"), "UTF-8"),
        *(
            (Frame(opcode=8, fin=True, data=code.to_bytes(2, "big")), "code")
            for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535)
        ),
    ],
)
def test_frames_that_none_may_send(frame: Frame, reason: str) -> None:
    sealer = RequestSealer(KEY)
    sealer.open_tunnel(HEAD)
    with pytest.raises(StateError, match=reason):
        sealer.frame(frame)
    hostile, opener = RecordSealer(KEY), RequestOpener(KEY)
    opener.open(hostile.seal(REQUEST_PARTS["h"].SerializeToString()))
    if len(frame.data) <= MAX_FRAME_DATA:  # a larger one does not fit into a record's plaintext by much
        with pytest.raises(ViolationError, match=reason):
            opener.open(hostile.seal(RequestPart(frame=frame).SerializeToString()))


def test_the_largest_frame_fits_into_a_record_wherever_it_stands() -> None:
    sealer, opener = ResponseSealer(KEY), ResponseOpener(KEY)
    largest = Frame(opcode=2, fin=False, data=bytes(MAX_FRAME_DATA))
    first = sealer.seal(head=SWITCHED, frame=largest)
    for sealed in [*first, *sealer.seal(frame=Frame(opcode=0, fin=True, data=bytes(MAX_FRAME_DATA)))]:
        assert len(sealed) <= MAX_SEALED_SIZE
        opener.open(sealed)


def test_a_closed_tunnel_round_trip() -> None:
    sealer, opener = RequestSealer(KEY), RequestOpener(KEY)
    sealed = [*sealer.open_tunnel(HEAD), *sealer.frame(TEXT), *sealer.frame(CLOSE), *sealer.end()]
    parts = [opener.open(each) for each in sealed]
    assert parts == [REQUEST_PARTS[letter] for letter in "hfce"]
    assert opener.finished
    opener.close()


@given(st.lists(st.binary(max_size=70_000).filter(lambda data: len(data) <= MAX_FRAME_DATA), max_size=4))
def test_every_record_is_padded_by_itself(pieces: list[bytes]) -> None:
    sealer = ResponseSealer(KEY)
    records = sealer.seal(head=SWITCHED)
    parts = [ResponsePart(head=SWITCHED)]
    for data in pieces:
        frame = Frame(opcode=2, fin=True, data=data)
        records += sealer.seal(frame=frame)
        parts.append(ResponsePart(frame=frame))
    records += sealer.seal(frame=CLOSE)
    records += sealer.seal(tail=ResponseTail())
    parts += [ResponsePart(frame=CLOSE), ResponsePart(tail=ResponseTail())]
    sizes = [len(record) - (HEADER_SIZE if place == 0 else 0) for place, record in enumerate(records)]
    assert sizes == [padme(max(TUNNEL_FLOOR, RECORD_OVERHEAD + part.ByteSize())) for part in parts]


def test_what_a_tunnel_sealer_refuses() -> None:
    sealer = RequestSealer(KEY)
    with pytest.raises(StateError, match="kind TUNNEL"):
        sealer.open_tunnel(RequestHead(kind=EXCHANGE_KIND_EXCHANGE))
    with pytest.raises(StateError, match="cannot come here"):
        sealer.frame(TEXT)
    large = RequestHead(kind=EXCHANGE_KIND_TUNNEL, url="x" * MAX_HEAD_SIZE)
    with pytest.raises(StateError, match="32,768"):
        sealer.open_tunnel(large)
    sealer.open_tunnel(HEAD)
    sealer.frame(CLOSE)
    with pytest.raises(StateError, match="cannot come here"):
        sealer.frame(TEXT)
    sealer.end()
    with pytest.raises(StateError):
        sealer.end()


@given(st.one_of(st.none(), st.integers(0, 65_535).filter(is_close_code)), st.text(max_size=200))
def test_closes_keep_their_code_and_as_much_of_the_reason_as_fits(code: int | None, reason: str) -> None:
    frame = close_frame(code, reason)
    sealer = RequestSealer(KEY)
    sealer.open_tunnel(HEAD)
    sealer.frame(frame)
    kept_code, kept_reason = close_reason(frame)
    assert kept_code == code
    assert reason.encode("utf-8", "replace").decode().startswith(kept_reason)
    assert len(frame.data) <= 125
