"""The fixed inputs that all vectors share: times, seeds, keys, envelopes, frozen encapsulations."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from generator.primitives import KemKey, encode, hkdf, label, sha256
from nacl.signing import SigningKey

from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.keys_pb2 import KeyConfig

NOW = 1_800_000_000
WINDOW = 300
EPOCH = 3_600

IDENTITY = SigningKey(bytes(range(0x00, 0x20)))
REPLICA = SigningKey(bytes(range(0x20, 0x40)))
STRANGER = SigningKey(bytes(range(0x40, 0x60)))

KEM_KEY = KemKey(bytes(range(0x60, 0x80)))
OTHER_KEM_KEY = KemKey(bytes(range(0x80, 0xA0)))

_ENCAPSULATIONS = Path(__file__).parents[3] / "spec" / "vectors" / "inputs" / "encapsulations.json"


def public(key: SigningKey) -> bytes:
    return bytes(key.verify_key)


def key_config(key: KemKey, not_before: int = NOW - 600, not_after: int = NOW + 3_000) -> KeyConfig:
    return KeyConfig(suite=1, public_key=key.public_bytes, not_before=not_before, not_after=not_after)


def key_id(config: bytes) -> bytes:
    return sha256(label("blindrelay/v1 key config", config))[:16]


CONFIG = encode(key_config(KEM_KEY))

NONCE = bytes(range(0xC0, 0xE0))
OTHER_NONCE = bytes(range(0xE0, 0x100))
"""The response nonces of the bridge's first answer, and of its second."""


def envelope(**changes: int | bytes) -> Envelope:
    fields: dict[str, int | bytes] = {
        "version": 1,
        "exchange_id": bytes(range(0xA0, 0xB0)),
        "identity": public(IDENTITY),
        "key_id": key_id(CONFIG),
        "issued_at": NOW,
        "max_units": 1_000_000,
    }
    made = Envelope()
    for name, value in (fields | changes).items():
        setattr(made, name, value)
    return made


@dataclass(frozen=True)
class Exchange:
    """A client's side: its envelope, its secret, and the name of its frozen encapsulation."""

    name: str
    envelope: bytes
    secret: bytes
    label: str = "blindrelay/v1 encapsulation"
    aead: AEAD = AEAD.AES_256_GCM

    @property
    def envelope_hash(self) -> bytes:
        return sha256(self.envelope)

    @property
    def info(self) -> bytes:
        return label(self.label, self.envelope_hash)

    @property
    def suite(self) -> Suite:
        return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, self.aead)

    @property
    def request_key(self) -> bytes:
        return hkdf(self.secret, label("blindrelay/v1 request", self.envelope_hash))

    def response_key(self, nonce: bytes) -> bytes:
        return hkdf(self.secret, label("blindrelay/v1 response", self.envelope_hash + nonce))

    @property
    def encapsulated_secret(self) -> bytes:
        """The frozen bytes. Raises ValueError if they do not open to this exchange's secret."""
        frozen = bytes.fromhex(json.loads(_ENCAPSULATIONS.read_text())[self.name])
        if self.suite.decrypt(frozen, KEM_KEY.private, info=self.info) != self.secret:
            raise ValueError(f"the frozen encapsulation {self.name!r} is of another secret")
        return frozen


_PLAIN = encode(envelope())

ALICE = Exchange("alice", _PLAIN, b"\xa1" * 32)
BOB = Exchange("bob", encode(envelope(exchange_id=bytes(range(0xB0, 0xC0)))), b"\xb0" * 32)
MALLORY = Exchange("mallory", _PLAIN, b"\xee" * 32)
OLD_LABEL = Exchange("old_label", _PLAIN, b"\xa3" * 32, label="blindrelay/v0 encapsulation")
OTHER_AEAD = Exchange("other_aead", _PLAIN, b"\xa4" * 32, aead=AEAD.CHACHA20_POLY1305)
SHORT_SECRET = Exchange("short_secret", _PLAIN, b"\xa5" * 31)
LONG_SECRET = Exchange("long_secret", _PLAIN, b"\xa6" * 33)

EXCHANGES = (ALICE, BOB, MALLORY, OLD_LABEL, OTHER_AEAD, SHORT_SECRET, LONG_SECRET)


def freeze_encapsulations() -> None:
    """Draws new encapsulations: HPKE takes no randomness from outside, so they are inputs once made."""
    frozen = {
        each.name: each.suite.encrypt(each.secret, KEM_KEY.public, info=each.info).hex() for each in EXCHANGES
    }
    _ENCAPSULATIONS.parent.mkdir(exist_ok=True)
    _ENCAPSULATIONS.write_text(json.dumps(frozen, indent=2) + "\n")
