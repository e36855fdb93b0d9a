"""Records: what seals, what opens, and what is refused for good."""

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
    """Records of any plaintext and tag, from libsodium itself."""
    state = SecretstreamState()
    header = init_push(state, KEY)
    sealed = [push(state, plaintext, None, tag) for plaintext, tag in plaintexts]
    return [header + sealed[0], *sealed[1:]]


def plaintext(part: bytes, zeros: int = 0) -> bytes:
    return len(part).to_bytes(4, "big") + part + bytes(zeros)


def check_failed(opener: RecordOpener, error: SealingError) -> None:
    """Every later use meets the first failure; nothing of the key remains."""
    good = RecordSealer(KEY).seal(b"more")
    for sealed in (good, b"", bytes(100)):
        with pytest.raises(type(error)) as again:
            opener.open(sealed)
        assert again.value.args == error.args
    with pytest.raises(type(error)):
        opener.close()
    assert opener._key is None
    assert opener._state is None
    assert repr(opener) == "<RecordOpener, failed>"
    assert not opener.finished


@pytest.mark.parametrize("part", [b"", b"a", b"\x00" * 10, bytes(range(256)) * 200])
@pytest.mark.parametrize("zeros", [0, 1, 4_000])
def test_a_record_opens_to_its_part_whatever_the_padding(part: bytes, zeros: int) -> None:
    sealer, opener = RecordSealer(KEY), RecordOpener(KEY)
    first = sealer.seal(part, zeros=zeros)
    assert len(first) == 24 + 21 + len(part) + zeros
    assert opener.open(first) == (part, False)
    last = sealer.seal(part, zeros=zeros, final=True)
    assert len(last) == 21 + len(part) + zeros
    assert opener.open(last) == (part, True)
    assert sealer.sealed_size == len(first) + len(last)
    opener.close()


def test_size_of_says_what_a_record_will_take() -> None:
    sealer = RecordSealer(KEY)
    for part in (b"", b"abc", bytes(1_000)):
        assert sealer.size_of(len(part)) == len(sealer.seal(part))


def test_the_same_part_under_the_same_key_never_looks_the_same() -> None:
    records = {RecordSealer(KEY).seal(b"same") for _ in range(50)}
    assert len(records) == 50
    assert len({record[:HEADER_SIZE] for record in records}) == 50


def test_records_of_the_largest_size_pass_and_one_byte_more_does_not() -> None:
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
    for final in (False, True):
        with pytest.raises(StateError, match="after the final record"):
            sealer.seal(b"more", final=final)
    assert sealer._state is None


def test_nothing_opens_after_the_final_record() -> None:
    """libsodium would open it: the stream goes on behind FINAL as if nothing were."""
    sealed = by_hand((plaintext(b"all"), TAG_FINAL), (plaintext(b"more"), TAG_MESSAGE))
    opener = RecordOpener(KEY)
    assert opener.open(sealed[0]) == (b"all", True)
    opener.close()
    with pytest.raises(OpenError) as caught:
        opener.open(sealed[1])
    check_failed(opener, caught.value)


@pytest.mark.parametrize("tag", sorted({1, 2, *(1 << bit for bit in range(8)), 3 + 4, 0x7F, 0xFF}))
def test_every_tag_but_message_and_final_is_refused(tag: int) -> None:
    (sealed,) = by_hand((plaintext(b"part"), tag))
    opener = RecordOpener(KEY)
    with pytest.raises(ViolationError) as caught:
        opener.open(sealed)
    check_failed(opener, caught.value)


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("value", [1, 0x80, 0xFF])
def test_padding_that_is_not_zero_is_refused(place: int, value: int) -> None:
    zeros = bytearray(5)
    zeros[place] = value
    (sealed,) = by_hand((plaintext(b"part") + bytes(zeros), TAG_FINAL))
    opener = RecordOpener(KEY)
    with pytest.raises(ViolationError, match="padding is not zero") as caught:
        opener.open(sealed)
    check_failed(opener, caught.value)


@pytest.mark.parametrize("length", [6, 7, 255, 1 << 16, 1 << 31, (1 << 32) - 1])
def test_a_length_beyond_the_record_is_refused(length: int) -> None:
    (sealed,) = by_hand((length.to_bytes(4, "big") + b"five!", TAG_MESSAGE))
    opener = RecordOpener(KEY)
    with pytest.raises(ViolationError, match="shorter than it says") as caught:
        opener.open(sealed)
    check_failed(opener, caught.value)


@pytest.mark.parametrize("size", range(4))
def test_a_record_too_short_for_its_length_is_refused(size: int) -> None:
    first, second = by_hand((plaintext(b""), TAG_MESSAGE), (bytes(size), TAG_FINAL))
    opener = RecordOpener(KEY)
    opener.open(first)
    with pytest.raises(OpenError) as caught:
        opener.open(second)
    check_failed(opener, caught.value)


def test_every_cut_of_a_first_and_a_second_record_is_refused() -> None:
    sealer = RecordSealer(KEY)
    first, second = sealer.seal(b"first"), sealer.seal(b"second", final=True)
    for size in range(len(first)):
        with pytest.raises(OpenError):
            RecordOpener(KEY).open(first[:size])
    for size in range(len(second)):
        opener = RecordOpener(KEY)
        opener.open(first)
        with pytest.raises(OpenError):
            opener.open(second[:size])


def test_every_flipped_bit_of_a_first_and_a_second_record_is_refused() -> None:
    sealer = RecordSealer(KEY)
    first, second = sealer.seal(b"first"), sealer.seal(b"second", final=True)
    for altered in flipped(first):
        with pytest.raises(OpenError):
            RecordOpener(KEY).open(altered)
    for altered in flipped(second):
        opener = RecordOpener(KEY)
        opener.open(first)
        with pytest.raises(OpenError):
            opener.open(altered)


def flipped(record: bytes) -> list[bytes]:
    number, size = int.from_bytes(record, "big"), len(record)
    return [(number ^ (1 << bit)).to_bytes(size, "big") for bit in range(8 * size)]


def test_an_authentic_record_over_the_limit_is_refused() -> None:
    (sealed,) = by_hand((plaintext(b"", MAX_SEALED_SIZE - 44), TAG_FINAL))
    assert len(sealed) == MAX_SEALED_SIZE + 1
    opener = RecordOpener(KEY)
    with pytest.raises(OpenError) as caught:
        opener.open(sealed)
    check_failed(opener, caught.value)


def test_another_key_opens_nothing() -> None:
    opener = RecordOpener(bytes(32))
    with pytest.raises(OpenError) as caught:
        opener.open(RecordSealer(KEY).seal(b"part"))
    check_failed(opener, caught.value)


@pytest.mark.parametrize("records", [0, 1, 2])
def test_an_end_without_the_final_record_is_truncation(records: int) -> None:
    sealer, opener = RecordSealer(KEY), RecordOpener(KEY)
    for _ in range(records):
        opener.open(sealer.seal(b"part"))
    with pytest.raises(TruncatedError) as caught:
        opener.close()
    check_failed(opener, caught.value)


def test_an_opening_failure_names_no_cause() -> None:
    """Neither in words nor behind them: a log of the exception says one sentence."""

    def short(opener: RecordOpener) -> None:
        opener.open(b"short")

    def forged(opener: RecordOpener) -> None:
        opener.open(bytes(100))

    def late(opener: RecordOpener) -> None:
        opener.open(RecordSealer(KEY).seal(b"", final=True))
        opener.open(b"")

    attempts: list[Callable[[RecordOpener], None]] = [short, forged, late]
    for attempt in attempts:
        with pytest.raises(OpenError) as caught:
            attempt(RecordOpener(KEY))
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert str(caught.value) == str(OpenError())


def test_reprs_tell_states_and_no_secrets() -> None:
    sealer, opener = RecordSealer(KEY), RecordOpener(KEY)
    assert (repr(sealer), repr(opener)) == ("<RecordSealer, 0 bytes sealed>", "<RecordOpener, open>")
    opener.open(sealer.seal(b"all", final=True))
    assert (repr(sealer), repr(opener)) == ("<RecordSealer, 48 bytes sealed>", "<RecordOpener, finished>")
