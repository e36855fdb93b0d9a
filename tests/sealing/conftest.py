"""What the core's tests share: vectors by kind, keys from seeds, and exchanges to attack."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from blindrelay.sealing import BridgeExchange, ClientExchange, SealingKey, decapsulate, encapsulate
from blindrelay.v1.envelope import encode_envelope
from blindrelay.v1.envelope_pb2 import Envelope

NOW = 1_800_000_000


@pytest.fixture(scope="session")
def vectors_folder() -> Path:
    return Path(__file__).parents[2] / "spec" / "vectors"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """An argument `<kind>_vector` takes every vector of that kind in turn."""
    folder = Path(__file__).parents[2] / "spec" / "vectors"
    for name in metafunc.fixturenames:
        if name.endswith("_vector"):
            files = sorted((folder / name.removesuffix("_vector")).glob("*.json"))
            values = [json.loads(file.read_text(encoding="utf-8")) for file in files]
            metafunc.parametrize(name, values, ids=[file.stem for file in files])


@pytest.fixture(scope="session")
def key_of_seed() -> Callable[[str, int, int], SealingKey]:
    """The bridge's key from X-Wing's seed (32 bytes, in hex), expanded to ML-KEM's and X25519's halves."""

    def make(seed: str, not_before: int, not_after: int) -> SealingKey:
        expanded = hashlib.shake_256(bytes.fromhex(seed)).digest(96)
        return SealingKey(
            MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
            X25519PrivateKey.from_private_bytes(expanded[64:]),
            not_before,
            not_after,
        )

    return make


@dataclass(frozen=True)
class Pair:
    """Both ends of one exchange."""

    envelope: bytes
    client: ClientExchange
    bridge: BridgeExchange


@pytest.fixture(scope="session")
def sealing_key() -> SealingKey:
    return SealingKey.generate(NOW - 600, NOW + 3_000)


@pytest.fixture(scope="session")
def make_envelope(sealing_key: SealingKey) -> Callable[[], bytes]:
    """A fresh envelope for the session's key."""

    def make() -> bytes:
        return encode_envelope(
            Envelope(
                version=1,
                exchange_id=os.urandom(16),
                identity=bytes(32),
                key_id=sealing_key.key_id,
                issued_at=NOW,
                max_units=1_000_000,
            )
        )

    return make


@pytest.fixture(scope="session")
def make_pair(sealing_key: SealingKey, make_envelope: Callable[[], bytes]) -> Callable[[], Pair]:
    """Begins a fresh exchange, as both its ends."""

    def make() -> Pair:
        envelope = make_envelope()
        client = encapsulate(envelope, sealing_key.config)
        return Pair(envelope, client, decapsulate(envelope, client.encapsulated_secret, sealing_key))

    return make
