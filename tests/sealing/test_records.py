"""Records: what seals, what opens, and which failures are final. The vectors have the alterations."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from blindrelay.sealing import OpenError, SealingError, StateError, TruncatedError, ViolationError
from blindrelay.sealing.records import RecordOpener, RecordSealer
from blindrelay.v1.limits import MAX_SEALED_SIZE

from .known_key import KEY, NONCE, known


def by_hand(*plaintexts: tuple[bytes, int]) -> list[bytes]:
    """Records of any plaintext, and of any last byte of their nonces, made with AES-GCM alone."""
    nonces = [place.to_bytes(11, "big") + bytes([final]) for place, (_, final) in enumerate(plaintexts)]
    return [
        AESGCM(KEY).encrypt(nonce, plaintext, None)
        for nonce, (plaintext, _) in zip(nonces, plaintexts, strict=True)
    ]


def plaintext(part: bytes, zeros: int = 0) -> bytes:
    return len(part).to_bytes(4, "big") + part + bytes(zeros)


def opened(opener: RecordOpener, sealed: bytes) -> tuple[bytes, bool]:
    part, final = opener.open(sealed)
    return bytes(part), final


def check_failed(opener: RecordOpener, error: SealingError) -> None:
    """Every later use raises the first failure, and no key remains."""
    for sealed in (RecordSealer(known).seal(b"more"), b""):
        with pytest.raises(type(error)) as again:
            opener.open(sealed)
        assert again.value is error
    with pytest.raises(type(error)):
        opener.close()
    assert (opener._derive_key, opener._cipher, opener.finished) == (None, None, False)
    assert repr(opener) == "<RecordOpener, failed>"


@pytest.mark.parametrize("part", [b"", b"a", b"\x00" * 10, bytes(range(256)) * 200])
@pytest.mark.parametrize("zeros", [0, 1, 4_000])
@pytest.mark.parametrize("nonce", [b"", NONCE])
def test_record_opens_to_its_part(part: bytes, zeros: int, nonce: bytes) -> None:
    sealer, opener = RecordSealer(known, nonce), RecordOpener(known, len(nonce))
    assert sealer.size_of(len(part)) == len(nonce) + 20 + len(part)
    first = sealer.seal(part, zeros=zeros)
    assert first.startswith(nonce)
    assert len(first) == len(nonce) + 20 + len(part) + zeros
    assert opened(opener, first) == (part, False)
    last = sealer.seal(part, zeros=zeros, final=True)
    assert len(last) == 20 + len(part) + zeros
    assert opened(opener, last) == (part, True)
    assert sealer.sealed_size == len(first) + len(last)
    opener.close()
    assert repr(opener) == "<RecordOpener, finished>"


def test_nonce_goes_into_the_key() -> None:
    """Both ends derive the key from what stands before the first record."""
    asked: list[bytes] = []

    def derive(nonce: bytes) -> bytearray:
        asked.append(nonce)
        return known(nonce)

    RecordOpener(derive, 32).open(RecordSealer(derive, NONCE).seal(b"part"))
    assert asked == [NONCE, NONCE]


def test_key_is_overwritten_once_it_is_in_use() -> None:
    keys = [known(), known()]
    RecordOpener(lambda _: keys[1]).open(RecordSealer(lambda _: keys[0]).seal(b"part"))
    assert keys == [bytearray(32)] * 2


def test_record_is_limited() -> None:
    sealer, opener = RecordSealer(known, NONCE), RecordOpener(known, 32)
    largest = sealer.seal(b"", zeros=MAX_SEALED_SIZE - 52)
    assert len(largest) == MAX_SEALED_SIZE
    opener.open(largest)
    with pytest.raises(StateError, match="69,632"):
        sealer.seal(bytes(MAX_SEALED_SIZE - 19))
    assert len(sealer.seal(bytes(MAX_SEALED_SIZE - 20))) == MAX_SEALED_SIZE


@pytest.mark.parametrize(
    ("used", "last", "place"),
    [("_records", 2**32 - 1, 2**32), ("_size", 2**38 - MAX_SEALED_SIZE, 2)],
    ids=["records", "bytes"],
)
def test_direction_is_limited(used: str, last: int, place: int) -> None:
    """The last record before a limit of the key is sealed and opened, and no further one."""
    sealer, opener = RecordSealer(known), RecordOpener(known)
    opener.open(sealer.seal(b"part"))
    for end in (sealer, opener):
        setattr(end._cipher, used, last)
    assert opened(opener, sealer.seal(b"part")) == (b"part", False)
    with pytest.raises(StateError, match="the limits of its key"):
        sealer.seal(b"more")
    beyond = AESGCM(KEY).encrypt(place.to_bytes(11, "big") + b"\x00", plaintext(b"more"), None)
    with pytest.raises(OpenError) as caught:
        opener.open(beyond)
    check_failed(opener, caught.value)


def test_nothing_is_sealed_after_the_final_record() -> None:
    sealer = RecordSealer(known)
    sealer.seal(b"all", final=True)
    with pytest.raises(StateError, match="after the final record"):
        sealer.seal(b"more")
    assert sealer._cipher is None


TOO_LARGE = plaintext(b"", MAX_SEALED_SIZE - 19)
WHOLE = (plaintext(b""), 1)

REFUSED: dict[str, tuple[list[tuple[bytes, int]], type[SealingError], str]] = {
    **{f"final byte {final}": ([(plaintext(b""), final)], OpenError, "did not open") for final in (2, 255)},
    "nonzero padding": ([(plaintext(b"a") + b"\x00\x80\x00", 1)], ViolationError, "is not zero"),
    "length too long": ([(b"\x00\x00\x00\x06five!", 0)], ViolationError, "shorter than it says"),
    "no length": ([(plaintext(b""), 0), (b"\x00\x00\x00", 1)], OpenError, "did not open"),
    "too large": ([(TOO_LARGE, 1)], OpenError, "did not open"),
    "after final": ([WHOLE, (plaintext(b""), 0)], OpenError, "did not open"),
    "final after final": ([WHOLE, WHOLE], OpenError, "did not open"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_authentic_record_is_refused(case: str) -> None:
    plaintexts, error, message = REFUSED[case]
    *before, refused = by_hand(*plaintexts)
    opener = RecordOpener(known)
    for sealed in before:
        opener.open(sealed)
    with pytest.raises(error, match=message) as caught:
        opener.open(refused)
    check_failed(opener, caught.value)


@pytest.mark.parametrize(
    "alter", [lambda record: record[:-1], lambda record: b"", lambda record: record + b"\0"]
)
def test_altered_record_does_not_open(alter: Callable[[bytes], bytes]) -> None:
    first, second = by_hand((plaintext(b"first"), 0), (plaintext(b"second"), 1))
    fresh, used = RecordOpener(known), RecordOpener(known)
    used.open(first)
    for opener, record in ((fresh, first), (used, second), (RecordOpener(known), first + first)):
        with pytest.raises(OpenError) as caught:
            opener.open(alter(record))
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)
        check_failed(opener, caught.value)


@pytest.mark.parametrize("records", [0, 1, 2])
def test_end_without_the_final_record_is_truncation(records: int) -> None:
    sealer, opener = RecordSealer(known), RecordOpener(known)
    for _ in range(records):
        opener.open(sealer.seal(b"part"))
    with pytest.raises(TruncatedError) as caught:
        opener.close()
    check_failed(opener, caught.value)
