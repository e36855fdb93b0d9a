"""Encapsulation: to one key, under one envelope, once."""

from __future__ import annotations

import hashlib
import hmac
import traceback
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.sealing import (
    KeyConfigError,
    OpenError,
    SealingKey,
    StateError,
    SuiteError,
    decapsulate,
    encapsulate,
)
from blindrelay.sealing.encapsulation import _derive
from blindrelay.v1.envelope import EnvelopeError, encode_envelope
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.inner_pb2 import RequestHead, ResponseHead, ResponseTail
from blindrelay.v1.keys import key_id
from blindrelay.v1.keys_pb2 import KeyConfig
from blindrelay.v1.limits import ENCAPSULATED_SECRET_SIZE

NOW = 1_800_000_000
HEAD = RequestHead(method="GET", url="https://api.example/v1/models")

MakePair = Callable[[], Any]
MakeEnvelope = Callable[[], bytes]


def test_both_ends_speak_with_each_other(make_pair: MakePair) -> None:
    pair = make_pair()
    pair.client.request.head(HEAD)
    for record in pair.client.request.end():
        pair.bridge.request.open(record)
    pair.bridge.request.close()
    for record in pair.bridge.response.seal(head=ResponseHead(status=200), tail=ResponseTail()):
        pair.client.response.open(record)
    pair.client.response.close()


def test_the_encapsulated_secret_has_the_size_of_the_protocol(make_pair: MakePair) -> None:
    assert len(make_pair().client.encapsulated_secret) == ENCAPSULATED_SECRET_SIZE == 1_120 + 32 + 16


def check_refused(envelope: bytes, encapsulated_secret: bytes, key: SealingKey) -> None:
    """One sentence for every cause, and nothing behind it that a log could print."""
    with pytest.raises(OpenError) as caught:
        decapsulate(envelope, encapsulated_secret, key)
    assert caught.value.args == OpenError().args
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "InvalidTag" not in "".join(traceback.format_exception(caught.value))


def test_every_byte_of_the_envelope_is_bound(make_pair: MakePair, sealing_key: SealingKey) -> None:
    pair = make_pair()
    for place in range(len(pair.envelope)):
        altered = bytearray(pair.envelope)
        altered[place] ^= 0x01
        check_refused(bytes(altered), pair.client.encapsulated_secret, sealing_key)


def test_an_envelope_cut_or_extended_is_another_one(make_pair: MakePair, sealing_key: SealingKey) -> None:
    pair = make_pair()
    for altered in (b"", pair.envelope[:-1], pair.envelope + b"\x00", pair.envelope * 2):
        check_refused(altered, pair.client.encapsulated_secret, sealing_key)


def test_every_byte_of_the_encapsulated_secret_counts(make_pair: MakePair, sealing_key: SealingKey) -> None:
    pair = make_pair()
    for place in range(ENCAPSULATED_SECRET_SIZE):
        altered = bytearray(pair.client.encapsulated_secret)
        altered[place] ^= 0x80
        check_refused(pair.envelope, bytes(altered), sealing_key)


@given(st.one_of(st.binary(max_size=64), st.binary(min_size=1_160, max_size=1_180)))
def test_any_bytes_are_refused_in_the_same_way(sealing_key: SealingKey, secret: bytes) -> None:
    check_refused(b"", secret, sealing_key)


@pytest.mark.parametrize("size", [*range(0, ENCAPSULATED_SECRET_SIZE, 97), 1_119, 1_120, 1_136, 1_167])
def test_a_cut_encapsulated_secret_is_refused(
    make_pair: MakePair, sealing_key: SealingKey, size: int
) -> None:
    pair = make_pair()
    check_refused(pair.envelope, pair.client.encapsulated_secret[:size], sealing_key)


def test_another_key_is_refused(make_pair: MakePair) -> None:
    pair = make_pair()
    check_refused(pair.envelope, pair.client.encapsulated_secret, SealingKey.generate(NOW - 600, NOW + 3_000))


def test_no_two_encapsulations_share_anything(sealing_key: SealingKey, make_envelope: MakeEnvelope) -> None:
    """Even under one envelope: the secret, X25519's share, ML-KEM's ciphertext, the keys' first records."""
    envelope = make_envelope()
    exchanges = [encapsulate(envelope, sealing_key.config) for _ in range(40)]
    secrets = [exchange.encapsulated_secret for exchange in exchanges]
    for start, end in ((0, 1_088), (1_088, 1_120), (1_120, 1_168)):
        assert len({secret[start:end] for secret in secrets}) == len(exchanges)
    for one, other in pairwise(exchanges):
        bridge = decapsulate(envelope, other.encapsulated_secret, sealing_key)
        one.request.head(HEAD)
        with pytest.raises(OpenError):
            bridge.request.open(one.request.end()[0])


def test_encapsulating_to_a_key_that_the_envelope_does_not_name(make_envelope: MakeEnvelope) -> None:
    other = SealingKey.generate(NOW - 600, NOW + 3_000)
    with pytest.raises(StateError, match="names another key"):
        encapsulate(make_envelope(), other.config)


def test_encapsulating_under_an_invalid_envelope(
    make_envelope: MakeEnvelope, sealing_key: SealingKey
) -> None:
    with pytest.raises(EnvelopeError):
        encapsulate(make_envelope() + b"\x40\x01", sealing_key.config)


def test_encapsulating_to_another_suite(sealing_key: SealingKey, make_envelope: MakeEnvelope) -> None:
    config = KeyConfig.FromString(sealing_key.config)
    config.suite = 2
    with pytest.raises(SuiteError):
        encapsulate(make_envelope(), config.SerializeToString(deterministic=True))


@pytest.mark.parametrize("share", [bytes(32), b"\x01" + bytes(31)], ids=["zero", "one"])
def test_encapsulating_to_a_key_of_low_order(sealing_key: SealingKey, share: bytes) -> None:
    """Its X25519 half gives one secret for all: a faulty directory, and a typed refusal."""
    parsed = KeyConfig.FromString(sealing_key.config)
    parsed.public_key = parsed.public_key[:1_184] + share
    config = parsed.SerializeToString(deterministic=True)
    envelope = encode_envelope(
        Envelope(
            version=1,
            exchange_id=bytes(16),
            identity=bytes(32),
            key_id=key_id(config),
            issued_at=NOW,
            max_units=1,
        )
    )
    with pytest.raises(KeyConfigError):
        encapsulate(envelope, config)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_the_key_schedule_is_hkdf_with_the_envelopes_hash_as_salt(secret: bytes, bound: bytes) -> None:
    """RFC 5869, written out: extract, then the one block that 32 bytes take."""
    extracted = hmac.digest(bound, secret, "sha256")
    request = hmac.digest(extracted, b"blindrelay/v1 request\x01", "sha256")
    response = hmac.digest(extracted, b"blindrelay/v1 response\x01", "sha256")
    assert _derive(secret, bound) == (request, response)
    assert request != response


def test_a_key_config_is_named_by_a_hash_of_its_exact_bytes(sealing_key: SealingKey) -> None:
    digest = hashlib.sha256(b"blindrelay/v1 key config\x00" + sealing_key.config).digest()
    assert sealing_key.key_id == digest[:16]


@pytest.mark.parametrize(("not_before", "not_after"), [(10, 10), (20, 10), (5, 20), (10, 25)])
def test_a_key_is_not_made_for_an_impossible_span(not_before: int, not_after: int) -> None:
    with pytest.raises(KeyConfigError, match="validity"):
        SealingKey.generate(not_before, not_after)


def test_no_two_keys_are_alike() -> None:
    keys = [SealingKey.generate(10, 20) for _ in range(10)]
    assert len({KeyConfig.FromString(key.config).public_key for key in keys}) == 10


def test_reprs_tell_no_secrets(make_pair: MakePair, sealing_key: SealingKey) -> None:
    pair = make_pair()
    assert repr(sealing_key) == f"<SealingKey {sealing_key.key_id.hex()}, private>"
    for end in (pair.client, pair.bridge):
        assert "encapsulated_secret" not in repr(end)
        assert "key" not in repr(end)
