"""The suite that we stand on, against the published vectors of HPKE with X-Wing (0x647a)."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.bindings._rust import openssl
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from blindrelay.sealing import SealingKey
from blindrelay.sealing.encapsulation import _SUITE
from blindrelay.v1.keys_pb2 import KeyConfig

X_WING, HKDF_SHA256, CHACHA20_POLY1305 = 0x647A, 0x0001, 0x0003


def published() -> list[dict[str, Any]]:
    """The vectors of our suite among those of draft-ietf-hpke-pq."""
    file = importlib.resources.files("cryptography_vectors") / "HPKE" / "hpke-pq-test-vectors.json"
    ours = (X_WING, HKDF_SHA256, CHACHA20_POLY1305)
    vectors: list[dict[str, Any]] = json.loads(file.read_text())
    return [each for each in vectors if (each["kem_id"], each["kdf_id"], each["aead_id"]) == ours]


@pytest.fixture(scope="module")
def vector() -> dict[str, Any]:
    (only,) = published()
    return only


def key_of(vector: dict[str, Any]) -> SealingKey:
    """X-Wing expands its 32-byte seed by SHAKE-256 to ML-KEM's seed (64) and X25519's key (32)."""
    expanded = hashlib.shake_256(bytes.fromhex(vector["skRm"])).digest(96)
    mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    return SealingKey(mlkem, X25519PrivateKey.from_private_bytes(expanded[64:]), 0, 10)


def test_the_public_key_is_the_published_one(vector: dict[str, Any]) -> None:
    config = KeyConfig.FromString(key_of(vector).config)
    assert config.public_key.hex() == vector["pkRm"]


def test_the_published_ciphertext_opens(vector: dict[str, Any]) -> None:
    """Only the first encryption is single-shot; its AAD is not empty, so it takes the private function."""
    first = vector["encryptions"][0]
    sealed = bytes.fromhex(vector["enc"] + first["ct"])
    info, aad = bytes.fromhex(vector["info"]), bytes.fromhex(first["aad"])
    opened = openssl.hpke._decrypt_with_aad(_SUITE, sealed, key_of(vector).private_key, info=info, aad=aad)
    assert opened.hex() == first["pt"]


@pytest.mark.parametrize("place", [0, 1_087, 1_088, 1_119, 1_120, -1])
def test_the_published_ciphertext_does_not_open_altered(vector: dict[str, Any], place: int) -> None:
    first = vector["encryptions"][0]
    sealed = bytearray.fromhex(vector["enc"] + first["ct"])
    sealed[place] ^= 1
    info, aad = bytes.fromhex(vector["info"]), bytes.fromhex(first["aad"])
    with pytest.raises(InvalidTag):
        openssl.hpke._decrypt_with_aad(_SUITE, bytes(sealed), key_of(vector).private_key, info=info, aad=aad)


def test_sizes_are_those_of_the_protocol(vector: dict[str, Any]) -> None:
    assert len(vector["pkRm"]) == 2 * 1_216
    assert len(vector["enc"]) == 2 * 1_120
