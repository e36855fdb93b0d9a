"""Scenarios of the encapsulated secret and the keys that come from it."""

from __future__ import annotations

from collections.abc import Iterator

from generator.fixed import (
    ALICE,
    BOB,
    CONFIG,
    KEM_KEY,
    LONG_SECRET,
    NONCE,
    NOW,
    OLD_LABEL,
    OTHER_AEAD,
    OTHER_KEM_KEY,
    SHORT_SECRET,
    Exchange,
    envelope,
    key_config,
)
from generator.primitives import encode
from generator.scenario import Scenario


def scenarios() -> Iterator[Scenario]:
    yield _opens("alice", "The key schedule of the exchange in exchange/small.json.", ALICE)
    yield _opens("bob", "Another exchange with the same key.", BOB)
    yield from _altered_secrets()
    yield from _altered_envelopes()
    yield from _misdirected()


def _fields(exchange: Exchange) -> dict[str, bytes]:
    return {
        "kem_seed": KEM_KEY.seed,
        "config": CONFIG,
        "envelope": exchange.envelope,
        "encapsulated_secret": exchange.encapsulated_secret,
    }


def _opens(name: str, comment: str, exchange: Exchange) -> Scenario:
    derived = {
        "envelope_hash": exchange.envelope_hash,
        "info": exchange.info,
        "exchange_secret": exchange.secret,
        "request_key": exchange.request_key,
        "response_nonce": NONCE,
        "response_key": exchange.response_key(NONCE),
    }
    return Scenario("encapsulation", name, comment, "accept", _fields(exchange) | derived)


def _fails(name: str, comment: str, exchange: Exchange = ALICE, **changes: bytes) -> Scenario:
    return Scenario("encapsulation", name, comment, "open_failure", _fields(exchange) | changes)


def _altered_secrets() -> Iterator[Scenario]:
    good = ALICE.encapsulated_secret

    def flipped(place: int) -> bytes:
        return good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]

    secrets = {
        "modified_enc_fails": ("A bit in the middle of ML-KEM's ciphertext.", flipped(544)),
        "modified_enc_mlkem_fails": ("A bit of ML-KEM's ciphertext.", flipped(0)),
        "modified_enc_x25519_fails": ("A bit of X25519's share.", flipped(1_088)),
        "modified_ciphertext_fails": ("A bit of the sealed secret.", flipped(1_120)),
        "modified_tag_fails": ("A bit of the tag.", flipped(1_167)),
        "secret_missing": ("No bytes.", b""),
        "secret_cut": ("One byte short.", good[:-1]),
        "secret_extended": ("One byte too many.", good + b"\x00"),
    }
    for name, (comment, secret) in secrets.items():
        yield _fails(name, comment, encapsulated_secret=secret)
    yield _fails("secret_of_31_bytes", "It opens, to less than a secret.", SHORT_SECRET)
    yield _fails("secret_of_33_bytes", "It opens, to more than a secret.", LONG_SECRET)


def _altered_envelopes() -> Iterator[Scenario]:
    another_bridge = envelope(identity=b"\x55" * 32)
    envelopes = {
        "modified_units_fails": ("A relay raises max_units.", envelope(max_units=2_000_000)),
        "modified_issued_at_fails": (
            "A relay keeps an exchange and dates it anew.",
            envelope(issued_at=NOW + 300),
        ),
        "modified_exchange_id_fails": (
            "A relay plays an exchange under a new name.",
            envelope(exchange_id=b"\x44" * 16),
        ),
        "modified_identity_fails": ("A relay says that another bridge was meant.", another_bridge),
    }
    for name, (comment, altered) in envelopes.items():
        yield _fails(name, comment, envelope=encode(altered))
    comment = "Alice's secret under Bob's envelope."
    yield _fails("envelope_of_another_exchange", comment, envelope=BOB.envelope)


def _misdirected() -> Iterator[Scenario]:
    seed, config = OTHER_KEM_KEY.seed, encode(key_config(OTHER_KEM_KEY))
    comment = "Opened with a key that it was not sealed to."
    yield _fails("other_key_same_error", comment, kem_seed=seed, config=config)
    yield _fails("downgrade_refused", "Sealed under the label of another version.", OLD_LABEL)
    yield _fails("other_aead_refused", "Sealed with ChaCha20-Poly1305, which no suite here uses.", OTHER_AEAD)
