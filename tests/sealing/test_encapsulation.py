"""Encapsulation: to one key, under one envelope, once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise

import pytest

from blindrelay.sealing import (
    KeyConfigError,
    OpenError,
    SealingKey,
    StateError,
    SuiteError,
    decapsulate,
    encapsulate,
)
from blindrelay.sealing.records import RecordOpener, RecordSealer
from blindrelay.v1.envelope import EnvelopeError, encode_envelope
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.inner_pb2 import RequestHead, ResponseHead, ResponseTail
from blindrelay.v1.keys import key_id
from blindrelay.v1.keys_pb2 import KeyConfig

from .known_key import known, request_opener, request_sealer, response_opener, response_sealer

NOW = 1_800_000_000
HEAD = RequestHead(method="GET", url="https://api.example/v1/models")
KEY = SealingKey.generate(NOW - 600, NOW + 3_000)
OTHER_KEY = SealingKey.generate(NOW - 600, NOW + 3_000)


def envelope_for(config: bytes) -> bytes:
    return encode_envelope(
        Envelope(
            version=1,
            exchange_id=os.urandom(16),
            identity=bytes(32),
            key_id=key_id(config),
            issued_at=NOW,
            max_units=1_000_000,
        )
    )


ENVELOPE = envelope_for(KEY.config)


def test_both_ends_share_their_keys() -> None:
    client = encapsulate(ENVELOPE, KEY.config)
    bridge = decapsulate(ENVELOPE, client.encapsulated_secret, KEY)
    client.request.head(HEAD)
    for record in client.request.end():
        bridge.request.open(record)
    bridge.request.close()
    for record in bridge.response.seal(head=ResponseHead(status=200), tail=ResponseTail()):
        client.response.open(record)
    client.response.close()


def test_request_that_is_answered_twice_has_two_nonces() -> None:
    """A bridge that runs from a copy of its memory has no claim to remember: its keys differ nevertheless."""
    client = encapsulate(ENVELOPE, KEY.config)
    first, second = (
        decapsulate(ENVELOPE, client.encapsulated_secret, KEY).response.seal(
            head=ResponseHead(status=200), tail=ResponseTail()
        )[0]
        for _ in range(2)
    )
    assert first[:32] != second[:32]
    assert first[32:] != second[32:]
    assert client.response.open(second).HasField("tail")


def alterations(data: bytes) -> Iterator[bytes]:
    """Each with one byte changed, then cut, extended and empty."""
    for place in range(len(data)):
        yield data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    yield from (data[:-1], data + b"\x00", b"")


def test_every_byte_of_envelope_and_secret_is_bound() -> None:
    secret = encapsulate(ENVELOPE, KEY.config).encapsulated_secret
    for altered in alterations(ENVELOPE):
        check_refused(altered, secret, KEY)
    for altered in alterations(secret):
        check_refused(ENVELOPE, altered, KEY)


def test_secret_for_another_key_does_not_open() -> None:
    check_refused(ENVELOPE, encapsulate(ENVELOPE, KEY.config).encapsulated_secret, OTHER_KEY)


def check_refused(envelope: bytes, secret: bytes, key: SealingKey) -> None:
    """Every cause gives one sentence, and a log of the exception finds nothing behind it."""
    with pytest.raises(OpenError) as caught:
        decapsulate(envelope, secret, key)
    assert caught.value.args == OpenError().args
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_encapsulations_under_one_envelope_share_nothing() -> None:
    """Neither X25519's share nor ML-KEM's ciphertext, the sealed secret or the keys."""
    exchanges = [encapsulate(ENVELOPE, KEY.config) for _ in range(10)]
    secrets = [exchange.encapsulated_secret for exchange in exchanges]
    for start, end in ((0, 1_088), (1_088, 1_120), (1_120, 1_168)):
        assert len({secret[start:end] for secret in secrets}) == len(exchanges)
    for one, other in pairwise(exchanges):
        bridge = decapsulate(ENVELOPE, other.encapsulated_secret, KEY)
        one.request.head(HEAD)
        with pytest.raises(OpenError):
            bridge.request.open(one.request.end()[0])


def changed_config(**changes: int | bytes) -> bytes:
    config = KeyConfig.FromString(KEY.config)
    for name, value in changes.items():
        setattr(config, name, value)
    return config.SerializeToString(deterministic=True)


ML_KEM_KEY = KeyConfig.FromString(KEY.config).public_key[:1_184]
LOW_ORDER = [changed_config(public_key=ML_KEM_KEY + share) for share in (bytes(32), b"\x01" + bytes(31))]


@pytest.mark.parametrize(
    ("envelope", "config", "error"),
    [
        (ENVELOPE, OTHER_KEY.config, StateError),
        (ENVELOPE + b"\x40\x01", KEY.config, EnvelopeError),
        (ENVELOPE, changed_config(suite=2), SuiteError),
        *((envelope_for(config), config, KeyConfigError) for config in LOW_ORDER),
    ],
    ids=["another key", "invalid envelope", "unknown suite", "low order 0", "low order 1"],
)
def test_encapsulation_is_refused(envelope: bytes, config: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        encapsulate(envelope, config)


@pytest.mark.parametrize(("not_before", "not_after"), [(10, 10), (20, 10), (5, 20), (10, 25)])
def test_key_is_not_made_for_an_invalid_span(not_before: int, not_after: int) -> None:
    with pytest.raises(KeyConfigError, match="validity"):
        SealingKey.generate(not_before, not_after)


def test_key_takes_exchanges_of_its_span() -> None:
    assert all(KEY.takes(NOW + offset) for offset in (-600, 0, 3_000))
    assert not any(KEY.takes(NOW + offset) for offset in (-610, 3_010))


def test_reprs_show_no_secrets() -> None:
    client = encapsulate(ENVELOPE, KEY.config)
    bridge = decapsulate(ENVELOPE, client.encapsulated_secret, KEY)
    assert repr(KEY) == f"<SealingKey {KEY.key_id.hex()}, private>"
    for end in (client, bridge):
        assert "encapsulated_secret" not in repr(end)
    assert {kind.__name__: repr(kind(known)) for kind in (RecordSealer, RecordOpener)} == {
        "RecordSealer": "<RecordSealer, 0 bytes sealed>",
        "RecordOpener": "<RecordOpener, open>",
    }
    for sealer in (request_sealer(), response_sealer()):
        assert repr(sealer) == f"<{type(sealer).__name__}, open>"
    for opener in (request_opener(), response_opener()):
        assert repr(opener) == f"<{type(opener).__name__}, <RecordOpener, open>>"
