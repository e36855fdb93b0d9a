"""The arithmetic of the protocol, written a second time, so that the vectors can contradict the core.

It uses `cryptography`, PyNaCl and the generated messages, but nothing of blindrelay.sealing.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey
from google.protobuf.message import Message

RECORD_MAX = 69_632
RECORD_ADDS = 20
FLOOR = 4_096
TUNNEL_FLOOR = 1_024
FULL_RECORD = {"request": 65_616, "response": 69_581}


def label(name: str, message: bytes) -> bytes:
    return name.encode() + b"\x00" + message


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def hkdf(secret: bytes, info: bytes) -> bytes:
    """RFC 5869 without a salt, for its first 32 bytes."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


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
    """One record before it is sealed. `final` is the last byte of its nonce: 1 in the final record."""

    plaintext: bytes
    final: int = 0


def record(part: Message | bytes, zeros: int = 0, final: int = 0) -> Record:
    encoded = part if isinstance(part, bytes) else encode(part)
    return Record(len(encoded).to_bytes(4, "big") + encoded + bytes(zeros), final)


def seal(key: bytes, records: Sequence[Record], nonce: bytes = b"") -> list[bytes]:
    """The records of one direction as they travel, the response's nonce before the first."""
    sealed = [seal_one(key, place, each) for place, each in enumerate(records)]
    return [nonce + sealed[0], *sealed[1:]] if sealed else []


def seal_one(key: bytes, place: int, each: Record) -> bytes:
    nonce = place.to_bytes(11, "big") + bytes([each.final])
    return AESGCM(key).encrypt(nonce, each.plaintext, None)


def padme(length: int) -> int:
    e = length.bit_length() - 1
    s = e.bit_length()
    step = 1 << (e - s)
    return -(-length // step) * step


def last_sizes(direction: str, sent: int, bare: int) -> list[int]:
    """Section 9.3: the sizes of the last record with content, and of the padding records after it.

    `sent` are the bytes before that record, the response's nonce included; `bare` are its own without zeros.
    """
    full = FULL_RECORD[direction]
    rest = padme(max(FLOOR, sent + bare)) - sent
    sizes = []
    while rest >= full + RECORD_ADDS:
        sizes.append(full)
        rest -= full
    return [*sizes, rest]


def padded(direction: str, parts: Sequence[Message], nonce: bytes = b"") -> list[Record]:
    """The records of a whole message. Those of a request are full, but for the last ones."""
    *early, last = map(encode, parts)
    full = FULL_RECORD[direction] - RECORD_ADDS if direction == "request" else 0
    records = [record(part, max(0, full - len(part))) for part in early]
    sent = len(nonce) + sum(len(each.plaintext) + RECORD_ADDS - 4 for each in records)
    sizes = last_sizes(direction, sent, RECORD_ADDS + len(last))
    contents = [last, *(b"" for _ in sizes[1:])]
    return records + [
        record(part, size - RECORD_ADDS - len(part), final=int(place == len(sizes)))
        for place, (part, size) in enumerate(zip(contents, sizes, strict=True), start=1)
    ]
