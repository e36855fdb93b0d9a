"""The HPKE suite against the published vector of X-Wing (0x647a), and against HPKE written out.

The published vector has our KEM and KDF with ChaCha20-Poly1305. Written out, the AEAD is a parameter.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib.resources
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from blindrelay.sealing import SealingKey
from blindrelay.v1.keys_pb2 import KeyConfig

X_WING, HKDF_SHA256, AES_256_GCM, CHACHA20_POLY1305 = 0x647A, 0x0001, 0x0002, 0x0003
AEADS: dict[int, type[AESGCM | ChaCha20Poly1305]] = {
    AES_256_GCM: AESGCM,
    CHACHA20_POLY1305: ChaCha20Poly1305,
}


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    """The only vector of our KEM and KDF in draft-ietf-hpke-pq."""
    file = importlib.resources.files("cryptography_vectors") / "HPKE" / "hpke-pq-test-vectors.json"
    vectors: list[dict[str, Any]] = json.loads(file.read_text())
    (only,) = [each for each in vectors if (each["kem_id"], each["kdf_id"]) == (X_WING, HKDF_SHA256)]
    return only


def opened(seed: bytes, aead: int, info: bytes, sealed: bytes, aad: bytes) -> bytes:
    """RFC 9180's single-shot base mode: what `sealed`, the encapsulated key and a ciphertext, opens to."""
    suite = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (X_WING, HKDF_SHA256, aead))

    def extract(label: bytes, secret: bytes, salt: bytes = b"") -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + secret, "sha256")

    def expand(secret: bytes, label: bytes, context: bytes, size: int) -> bytes:
        labelled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + context
        return hmac.digest(secret, labelled + b"\x01", "sha256")[:size]

    context = b"\x00" + extract(b"psk_id_hash", b"") + extract(b"info_hash", info)
    secret = extract(b"secret", b"", salt=shared_secret(seed, sealed[:1_120]))
    key, nonce = expand(secret, b"key", context, 32), expand(secret, b"base_nonce", context, 12)
    return AEADS[aead](key).decrypt(nonce, sealed[1_120:], aad)


def shared_secret(seed: bytes, encapsulated: bytes) -> bytes:
    """X-Wing's decapsulation."""
    expanded = hashlib.shake_256(seed).digest(96)
    mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
    ciphertext, share = encapsulated[:1_088], encapsulated[1_088:]
    secrets = mlkem.decapsulate(ciphertext) + x25519.exchange(X25519PublicKey.from_public_bytes(share))
    return hashlib.sha3_256(secrets + share + x25519.public_key().public_bytes_raw() + b"\\.//^\\").digest()


def test_public_key_is_the_published_one(
    published: dict[str, Any], key_of_seed: Callable[[str, int, int], SealingKey]
) -> None:
    key = key_of_seed(published["skRm"], 0, 10)
    assert KeyConfig.FromString(key.config).public_key.hex() == published["pkRm"]


def test_published_ciphertext_opens(published: dict[str, Any]) -> None:
    first = published["encryptions"][0]
    seed, info, sealed, aad = (
        bytes.fromhex(text)
        for text in (published["skRm"], published["info"], published["enc"] + first["ct"], first["aad"])
    )
    assert opened(seed, published["aead_id"], info, sealed, aad).hex() == first["pt"]


def test_secret_of_our_suite_opens(vectors_folder: Path) -> None:
    """The vector that the core opens has AES-256-GCM, and this key schedule."""
    vector = json.loads((vectors_folder / "encapsulation" / "alice.json").read_text())
    seed, info, sealed = (bytes.fromhex(vector[name]) for name in ("kem_seed", "info", "encapsulated_secret"))
    assert opened(seed, AES_256_GCM, info, sealed, b"").hex() == vector["exchange_secret"]
