"""The HPKE suite against the published vectors of X-Wing (0x647a)."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from typing import Any

import pytest
from cryptography.hazmat.bindings._rust import openssl
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from blindrelay.sealing import SealingKey
from blindrelay.sealing.encapsulation import _SUITE
from blindrelay.v1.keys_pb2 import KeyConfig

X_WING, HKDF_SHA256, CHACHA20_POLY1305 = 0x647A, 0x0001, 0x0003


@pytest.fixture(scope="module")
def vector() -> dict[str, Any]:
    """The only vector of our suite in draft-ietf-hpke-pq."""
    file = importlib.resources.files("cryptography_vectors") / "HPKE" / "hpke-pq-test-vectors.json"
    ours = (X_WING, HKDF_SHA256, CHACHA20_POLY1305)
    vectors: list[dict[str, Any]] = json.loads(file.read_text())
    (only,) = [each for each in vectors if (each["kem_id"], each["kdf_id"], each["aead_id"]) == ours]
    return only


@pytest.fixture(scope="module")
def key(vector: dict[str, Any]) -> SealingKey:
    """SHAKE-256 expands the seed of X-Wing (32 bytes) to the seeds of ML-KEM (64) and X25519 (32)."""
    expanded = hashlib.shake_256(bytes.fromhex(vector["skRm"])).digest(96)
    mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    return SealingKey(mlkem, X25519PrivateKey.from_private_bytes(expanded[64:]), 0, 10)


def test_public_key_is_the_published_one(vector: dict[str, Any], key: SealingKey) -> None:
    assert KeyConfig.FromString(key.config).public_key.hex() == vector["pkRm"]


def test_published_ciphertext_opens(vector: dict[str, Any], key: SealingKey) -> None:
    """Its AAD is not empty, which only a private function of the library can express."""
    first = vector["encryptions"][0]
    sealed = bytes.fromhex(vector["enc"] + first["ct"])
    info, aad = bytes.fromhex(vector["info"]), bytes.fromhex(first["aad"])
    opened = openssl.hpke._decrypt_with_aad(_SUITE, sealed, key.private_key, info=info, aad=aad)
    assert opened.hex() == first["pt"]
