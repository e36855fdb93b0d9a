"""Records: what seals, what opens, and which failures are final. The vectors have the alterations."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from blindrelay.sealing import OpenError, SealingError, StateError, TruncatedError, ViolationError
from blindrelay.sealing.records import (
    HEADER_SIZE,
    TAG_FINAL,
    TAG_MESSAGE,
    RecordOpener,
    RecordSealer,
    SecretstreamState,
    init_push,
    push,
)
from blindrelay.v1.limits import MAX_SEALED_SIZE

KEY = bytes(range(32))


def by_hand(*plaintexts: tuple[bytes, int]) -> list[bytes]:
    """Records of any plaintext and tag, made with libsodium alone."""
    state = SecretstreamState()
    header = init_push(state, KEY)
    sealed = [push(state, plaintext, None, tag) for plaintext, tag in plaintexts]
    return [header + sealed[0], *sealed[1:]]


def plaintext(part: bytes, zeros: int = 0) -> bytes:
    return len(part).to_bytes(4, "big") + part + bytes(zeros)


def check_failed(opener: RecordOpener, error: SealingError) -> None:
    """Every later use raises the first failure, and no key remains."""
    for sealed in (RecordSealer(KEY).seal(b"more"), b""):
        with pytest.raises(type(error)) as again:
            opener.open(sealed)
        assert again.value is error
    with pytest.raises(type(error)):
        opener.close()
    assert (opener._key, opener._state, opener.finished) == (None, None, False)
    assert repr(opener) == "<RecordOpener, failed>"


@pytest.mark.parametrize("part", [b"", b"a", b"\x00" * 10, bytes(range(256)) * 200])
@pytest.mark.parametrize("zeros", [0, 1, 4_000])
def test_record_opens_to_its_part(part: bytes, zeros: int) -> None:
    sealer, opener = RecordSealer(KEY), RecordOpener(KEY)
    assert sealer.size_of(len(part)) == 24 + 21 + len(part)
    first = sealer.seal(part, zeros=zeros)
    assert len(first) == 24 + 21 + len(part) + zeros
    assert opener.open(first) == (part, False)
    last = sealer.seal(part, zeros=zeros, final=True)
    assert len(last) == 21 + len(part) + zeros
    assert opener.open(last) == (part, True)
    assert sealer.sealed_size == len(first) + len(last)
    opener.close()
    assert repr(opener) == "<RecordOpener, finished>"


def test_streams_under_one_key_have_nothing_in_common() -> None:
    records = {RecordSealer(KEY).seal(b"same") for _ in range(50)}
    assert len({record[:HEADER_SIZE] for record in records}) == 50
    assert len({record[HEADER_SIZE:] for record in records}) == 50


def test_record_is_limited() -> None:
    sealer, opener = RecordSealer(KEY), RecordOpener(KEY)
    largest = sealer.seal(b"", zeros=MAX_SEALED_SIZE - 45)
    assert len(largest) == MAX_SEALED_SIZE
    opener.open(largest)
    with pytest.raises(StateError, match="69,632"):
        sealer.seal(bytes(MAX_SEALED_SIZE - 20))
    assert len(sealer.seal(bytes(MAX_SEALED_SIZE - 21))) == MAX_SEALED_SIZE


def test_nothing_is_sealed_after_the_final_record() -> None:
    sealer = RecordSealer(KEY)
    sealer.seal(b"all", final=True)
    with pytest.raises(StateError, match="after the final record"):
        sealer.seal(b"more")
    assert sealer._state is None


TOO_LARGE = plaintext(b"", MAX_SEALED_SIZE - 44)

REFUSED: dict[str, tuple[list[tuple[bytes, int]], type[SealingError], str]] = {
    **{
        f"tag {tag}": ([(plaintext(b"part"), tag)], ViolationError, "tag") for tag in (1, 2, 4, 7, 0x83, 0xFF)
    },
    "nonzero padding": ([(plaintext(b"a") + b"\x00\x80\x00", TAG_FINAL)], ViolationError, "is not zero"),
    "length too long": ([(b"\x00\x00\x00\x06five!", TAG_MESSAGE)], ViolationError, "shorter than it says"),
    "no length": ([(plaintext(b""), TAG_MESSAGE), (b"\x00\x00\x00", TAG_FINAL)], OpenError, "did not open"),
    "too large": ([(TOO_LARGE, TAG_FINAL)], OpenError, "did not open"),
    # libsodium would open it.
    "after final": ([(plaintext(b""), TAG_FINAL), (plaintext(b""), TAG_MESSAGE)], OpenError, "did not open"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_authentic_record_is_refused(case: str) -> None:
    plaintexts, error, message = REFUSED[case]
    *before, refused = by_hand(*plaintexts)
    opener = RecordOpener(KEY)
    for sealed in before:
        opener.open(sealed)
    with pytest.raises(error, match=message) as caught:
        opener.open(refused)
    check_failed(opener, caught.value)


@pytest.mark.parametrize(
    "alter", [lambda record: record[:-1], lambda record: b"", lambda record: record + b"\0"]
)
def test_altered_record_does_not_open(alter: Callable[[bytes], bytes]) -> None:
    first, second = by_hand((plaintext(b"first"), TAG_MESSAGE), (plaintext(b"second"), TAG_FINAL))
    fresh, used = RecordOpener(KEY), RecordOpener(KEY)
    used.open(first)
    for opener, record in ((fresh, first), (used, second), (RecordOpener(bytes(32)), first + first)):
        with pytest.raises(OpenError) as caught:
            opener.open(alter(record))
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)
        check_failed(opener, caught.value)


@pytest.mark.parametrize("records", [0, 1, 2])
def test_end_without_the_final_record_is_truncation(records: int) -> None:
    sealer, opener = RecordSealer(KEY), RecordOpener(KEY)
    for _ in range(records):
        opener.open(sealer.seal(b"part"))
    with pytest.raises(TruncatedError) as caught:
        opener.close()
    check_failed(opener, caught.value)


def test_state_is_overwritten_when_it_is_dropped() -> None:
    state = SecretstreamState()
    init_push(state, KEY)
    memory = state.statebuf
    assert bytes(memory) != bytes(len(memory))
    del state
    assert bytes(memory) == bytes(len(memory))
