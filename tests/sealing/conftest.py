"""Fixtures of the core's tests: every vector of a kind, and keys from seeds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from blindrelay.sealing import SealingKey

VECTORS = Path(__file__).parents[2] / "spec" / "vectors"


@pytest.fixture(scope="session")
def vectors_folder() -> Path:
    return VECTORS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A parameter `<kind>_vector` takes each vector of that kind, `stream_vector` requests and responses."""
    for name in metafunc.fixturenames:
        if name.endswith("_vector"):
            kind = name.removesuffix("_vector")
            kinds = ("request", "response") if kind == "stream" else (kind,)
            files = [file for kind in kinds for file in sorted((VECTORS / kind).glob("*.json"))]
            values = [json.loads(file.read_text(encoding="utf-8")) for file in files]
            metafunc.parametrize(name, values, ids=[f"{file.parent.name}/{file.stem}" for file in files])


@pytest.fixture(scope="session")
def key_of_seed() -> Callable[[str, int, int], SealingKey]:
    """The bridge's key from the seed of X-Wing (32 bytes, in hex), which SHAKE-256 expands to both halves."""

    def make(seed: str, not_before: int, not_after: int) -> SealingKey:
        expanded = hashlib.shake_256(bytes.fromhex(seed)).digest(96)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
        return SealingKey(mlkem, x25519, not_before, not_after)

    return make
