"""The arithmetic of the protocol, written a second time, so that the vectors can contradict the core.

It uses PyNaCl, `cryptography` and the generated messages, but nothing of blindrelay.sealing.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey
from google.protobuf.message import Message
from nacl import bindings

MESSAGE, PUSH, REKEY, FINAL = 0, 1, 2, 3

RECORD_MAX = 69_632
RECORD_ADDS = 21
FLOOR = 4_096


def label(name: str, message: bytes) -> bytes:
    return name.encode() + b"\x00" + message


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def hkdf(salt: bytes, secret: bytes, info: str) -> bytes:
    """RFC 5869 for its first 32 bytes."""
    extracted = hmac.digest(salt, secret, "sha256")
    return hmac.digest(extracted, info.encode() + b"\x01", "sha256")


def encode(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


@dataclass(frozen=True)
class KemKey:
    """An X-Wing key from its 32-byte seed (draft-connolly-cfrg-xwing-kem, section 5.2)."""

    seed: bytes

    @property
    def expanded(self) -> tuple[bytes, bytes]:
        """ML-KEM's seed (64 bytes) and X25519's private key (32)."""
        expanded = hashlib.shake_256(self.seed).digest(96)
        return expanded[:64], expanded[64:]

    @property
    def private(self) -> MLKEM768X25519PrivateKey:
        mlkem, x25519 = self.expanded
        return MLKEM768X25519PrivateKey(
            MLKEM768PrivateKey.from_seed_bytes(mlkem), X25519PrivateKey.from_private_bytes(x25519)
        )

    @property
    def public(self) -> MLKEM768X25519PublicKey:
        mlkem, x25519 = self.expanded
        return MLKEM768X25519PublicKey(
            MLKEM768PrivateKey.from_seed_bytes(mlkem).public_key(),
            X25519PrivateKey.from_private_bytes(x25519).public_key(),
        )

    @property
    def public_bytes(self) -> bytes:
        mlkem, x25519 = self.expanded
        return (
            MLKEM768PrivateKey.from_seed_bytes(mlkem).public_key().public_bytes_raw()
            + X25519PrivateKey.from_private_bytes(x25519).public_key().public_bytes_raw()
        )


@dataclass(frozen=True)
class Record:
    """One record before it is sealed: its plaintext and its tag."""

    plaintext: bytes
    tag: int = MESSAGE


def record(part: Message | bytes, zeros: int = 0, tag: int = MESSAGE) -> Record:
    encoded = part if isinstance(part, bytes) else encode(part)
    return Record(len(encoded).to_bytes(4, "big") + encoded + bytes(zeros), tag)


def seal(key: bytes, header: bytes, records: Sequence[Record]) -> list[bytes]:
    """The records of one direction as they travel.

    libsodium draws the header itself when it begins to seal. A state made by init_pull is the same
    state, with a header of our choice: for vectors only.
    """
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    bindings.crypto_secretstream_xchacha20poly1305_init_pull(state, header, key)
    sealed = [
        bindings.crypto_secretstream_xchacha20poly1305_push(state, each.plaintext, None, each.tag)
        for each in records
    ]
    return [header + sealed[0], *sealed[1:]] if sealed else []


def padme(length: int) -> int:
    e = length.bit_length() - 1
    s = e.bit_length()
    step = 1 << (e - s)
    return -(-length // step) * step
