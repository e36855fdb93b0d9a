"""Sealing keys: a bridge holds one for each epoch, and clients seal to it (spec/protocol.md, section 4.2).

X-Wing (draft-connolly-cfrg-xwing-kem) joins ML-KEM-768 and X25519, so that either one may break.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey
from google.protobuf.message import DecodeError

from blindrelay.sealing.errors import KeyConfigError, SuiteError
from blindrelay.v1.keys import key_id
from blindrelay.v1.keys_pb2 import KeyConfig
from blindrelay.v1.limits import SUITE, TIME_STEP

_MLKEM_PUBLIC_SIZE: Final = 1_184
PUBLIC_KEY_SIZE: Final = 1_216
"""Bytes: an ML-KEM-768 encapsulation key (1,184), then an X25519 public key (32)."""

MAX_VALIDITY: Final = 172_800
"""Seconds: two of the longest epochs (one day each). A longer validity would undo forward secrecy."""


class SealingKey:
    """A bridge's private key for one epoch, with the config that announces it.

    Attributes:
        config: exact KeyConfig bytes.
        key_id: 16 bytes.
        not_before, not_after: Unix seconds, inclusive, multiples of 10. The key may open exchanges whose
            issued_at is between them.
    """

    def __init__(
        self, mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey, not_before: int, not_after: int
    ) -> None:
        self.private_key = MLKEM768X25519PrivateKey(mlkem, x25519)
        public_key = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        config = KeyConfig(suite=SUITE, public_key=public_key, not_before=not_before, not_after=not_after)
        self.config: bytes = config.SerializeToString(deterministic=True)
        parse_config(self.config)
        self.key_id = key_id(self.config)
        self.not_before = not_before
        self.not_after = not_after

    @classmethod
    def generate(cls, not_before: int, not_after: int) -> SealingKey:
        """A new random key."""
        return cls(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate(), not_before, not_after)

    def takes(self, issued_at: int) -> bool:
        """Whether the key may open an exchange with this issued_at (Unix seconds)."""
        return self.not_before <= issued_at <= self.not_after

    def __repr__(self) -> str:
        return f"<SealingKey {self.key_id.hex()}, private>"


def parse_config(config: bytes) -> KeyConfig:
    """Reads exact KeyConfig bytes.

    Raises SuiteError for a suite of another version, KeyConfigError for anything else.
    """
    try:
        parsed = KeyConfig.FromString(config)
    except DecodeError:
        raise KeyConfigError("a key config is not a protobuf message") from None
    if parsed.suite != SUITE:
        raise SuiteError(f"a key has suite {parsed.suite}; this version knows only suite {SUITE}")
    if len(parsed.public_key) != PUBLIC_KEY_SIZE:
        raise KeyConfigError("a public key is not 1,216 bytes")
    if parsed.not_after - parsed.not_before > MAX_VALIDITY:
        raise KeyConfigError("a key is valid for longer than two days")
    if parsed.not_before >= parsed.not_after or parsed.not_before % TIME_STEP or parsed.not_after % TIME_STEP:
        raise KeyConfigError("a key's validity is empty, or its bounds are not multiples of 10 seconds")
    return parsed


class PublicKey(NamedTuple):
    """What clients seal to: the key, and its key_id of 16 bytes."""

    key: MLKEM768X25519PublicKey
    key_id: bytes


@lru_cache(maxsize=64)
def public_key_of(config: bytes) -> PublicKey:
    """The public key in exact KeyConfig bytes. Raises as parse_config does, and for an invalid X-Wing key.

    Cached: reading a key takes a third as long as sealing to it, and a client seals to few keys many times.
    """
    raw = parse_config(config).public_key
    try:
        key = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC_SIZE]),
            X25519PublicKey.from_public_bytes(raw[_MLKEM_PUBLIC_SIZE:]),
        )
    except ValueError:
        raise KeyConfigError("a public key is not a valid X-Wing key") from None
    return PublicKey(key, key_id(config))
