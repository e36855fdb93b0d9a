"""Tunnels: every frame after every other, what a frame may hold, and the padding of each record."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.sealing import (
    StateError,
    ViolationError,
    close_frame,
    close_reason,
    data_frames,
    is_close_code,
)
from blindrelay.sealing.padding import RECORD_OVERHEAD, TUNNEL_FLOOR, padme
from blindrelay.v1.inner_pb2 import (
    EXCHANGE_KIND_EXCHANGE,
    EXCHANGE_KIND_TUNNEL,
    Frame,
    RequestHead,
    RequestPart,
    ResponseHead,
    ResponsePart,
    ResponseTail,
)
from blindrelay.v1.limits import MAX_FRAME_DATA, MAX_HEAD_SIZE, MAX_SEALED_SIZE

from .known_key import (
    NONCE,
    hostile_sealer,
    request_opener,
    request_sealer,
    response_opener,
    response_sealer,
)

HEAD = RequestHead(kind=EXCHANGE_KIND_TUNNEL, method="GET", url="https://api.openai.com/v1/realtime")
SWITCHED = ResponseHead(status=101)
TEXT = Frame(opcode=1, fin=True, data=b"{}")
CLOSE = close_frame(1000)

# RFC 6455, section 5.4: text, binary and continuation frames, small letters with fin.
FRAMES = {
    letter if fin else letter.upper(): Frame(opcode=opcode, fin=fin, data=b"ab")
    for letter, opcode in {"c": 0, "t": 1, "b": 2, "r": 3, "i": 9, "o": 10, "y": 2**32 - 1}.items()
    for fin in (False, True)
}
LEGAL = "(t|b|[TB]C*c)*([TB]C*)?"


def test_every_frame_after_every_other() -> None:
    for letters in product(FRAMES, repeat=3):
        opener = request_opener()
        hostile = hostile_sealer(opener)
        opener.open(hostile.seal(RequestPart(head=HEAD).SerializeToString()))
        for place, letter in enumerate(letters, start=1):
            sealed = hostile.seal(RequestPart(frame=FRAMES[letter]).SerializeToString())
            if not re.fullmatch(LEGAL, "".join(letters[:place])):
                with pytest.raises(ViolationError):
                    opener.open(sealed)
                break
            opener.open(sealed)


def close(data: bytes, *, fin: bool = True) -> Frame:
    return Frame(opcode=8, fin=fin, data=data)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (Frame(opcode=1, fin=True, data=bytes(MAX_FRAME_DATA + 1)), "65,536"),
        (close(b"\x03\xe8", fin=False), "single frame"),
        (close(b"\x03"), "2 to 125"),
        (close(b"\x03\xe8" + b"x" * 124), "2 to 125"),
        (close(b"\x03\xe8\xff"), "UTF-8"),
        *(
            (close(code.to_bytes(2, "big")), "code")
            for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535)
        ),
    ],
)
def test_invalid_frame_is_neither_sealed_nor_opened(frame: Frame, reason: str) -> None:
    sealer = request_sealer()
    sealer.open_tunnel(HEAD)
    with pytest.raises(StateError, match=reason):
        sealer.frame(frame)
    opener = request_opener()
    hostile = hostile_sealer(opener)
    with pytest.raises(ViolationError, match=reason):
        opener.open(hostile.seal(RequestPart(head=HEAD, frame=frame).SerializeToString()))


def test_largest_frames_fit_into_a_record() -> None:
    begins, ends = data_frames(2, bytes(2 * MAX_FRAME_DATA))
    assert ((begins.opcode, begins.fin), (ends.opcode, ends.fin)) == ((2, False), (0, True))
    sealer, opener = response_sealer(), response_opener()
    for sealed in [*sealer.seal(head=SWITCHED, frame=begins), *sealer.seal(frame=ends)]:
        assert len(sealed) <= MAX_SEALED_SIZE
        opener.open(sealed)


@pytest.mark.parametrize("size", [0, 1, MAX_FRAME_DATA, MAX_FRAME_DATA + 1, 3 * MAX_FRAME_DATA])
def test_data_of_any_length_is_split_into_frames(size: int) -> None:
    frames = data_frames(1, bytes(size), fin=False)
    assert b"".join(frame.data for frame in frames) == bytes(size)
    assert [frame.opcode for frame in frames] == [1] + [0] * max(0, (size - 1) // MAX_FRAME_DATA)
    assert not any(frame.fin for frame in frames)


@given(st.lists(st.integers(0, MAX_FRAME_DATA), max_size=4))
def test_each_record_is_padded_alone(sizes: list[int]) -> None:
    parts = [
        ResponsePart(head=SWITCHED),
        *(ResponsePart(frame=Frame(opcode=2, fin=True, data=bytes(size))) for size in sizes),
        ResponsePart(frame=CLOSE),
        ResponsePart(tail=ResponseTail()),
    ]
    sealer, opener = response_sealer(), response_opener()
    records = [record for part in parts for record in sealer.seal(**given_fields(part))]
    assert [len(record) for record in (records[0].removeprefix(NONCE), *records[1:])] == [
        padme(max(TUNNEL_FLOOR, RECORD_OVERHEAD + part.ByteSize())) for part in parts
    ]
    assert [opener.open(record) for record in records] == parts
    opener.close()


def given_fields(part: ResponsePart) -> dict[str, Any]:
    return {field.name: value for field, value in part.ListFields()}


def test_tunnel_sealer_refuses_what_is_out_of_order() -> None:
    sealer = request_sealer()
    with pytest.raises(StateError, match="kind TUNNEL"):
        sealer.open_tunnel(RequestHead(kind=EXCHANGE_KIND_EXCHANGE))
    with pytest.raises(StateError, match="cannot come here"):
        sealer.frame(TEXT)
    with pytest.raises(StateError, match="32,768"):
        sealer.open_tunnel(RequestHead(kind=EXCHANGE_KIND_TUNNEL, url="x" * MAX_HEAD_SIZE))
    sealed = [*sealer.open_tunnel(HEAD), *sealer.frame(CLOSE)]
    with pytest.raises(StateError, match="cannot come here"):
        sealer.frame(TEXT)
    sealed += sealer.end()
    with pytest.raises(StateError, match="has ended"):
        sealer.end()
    opener = request_opener()
    for record in sealed:
        opener.open(record)
    assert opener.finished


CODES = st.sampled_from([None, *filter(is_close_code, range(65_536))])


@given(CODES, st.text(max_size=200))
def test_close_keeps_its_code_and_what_fits_of_its_reason(code: int | None, reason: str) -> None:
    frame = close_frame(code, reason)
    sealer = request_sealer()
    sealer.open_tunnel(HEAD)
    sealer.frame(frame)
    kept_code, kept_reason = close_reason(frame)
    assert kept_code == code
    assert reason.encode("utf-8", "replace").decode().startswith(kept_reason)
    assert len(frame.data) <= 125
