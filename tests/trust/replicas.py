"""Directories that replicas state, honestly or not, for tests that judge and compare them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from blindrelay.sealing import SealingKey
from blindrelay.trust import (
    DirectorySigner,
    IdentityKey,
    KeyHistory,
    SignedDelegation,
    VerifiedDirectory,
    read_directory,
)
from blindrelay.v1.keys_pb2 import KeyDirectory, SignedKeyDirectory

NOW = 1_800_000_000
DAY = 86_400
IDENTITY = IdentityKey(bytes(range(32)))
SUCCESSOR = IdentityKey(b"\x07" * 32)
STRANGER = IdentityKey(bytes(32))
KEYS = [SealingKey.generate(NOW - 600, NOW + 3_000) for _ in range(3)]


class Replica:
    """A replica's process: each statement is the next number, with whatever it is told to state."""

    def __init__(
        self, number: int = 1, identity: IdentityKey = IDENTITY, started_at: int = NOW - 600
    ) -> None:
        self.identity = identity
        self.signer = DirectorySigner(bytes([number]) * 32)
        self.content: dict[str, Any] = {
            "replica_id": bytes(15) + bytes([number]),
            "started_at": started_at,
            "configs": [KEYS[0].config],
        }
        self.sequence = 0

    def signed(self, issued_at: int = NOW, **changes: Any) -> SignedKeyDirectory:
        self.sequence += 1
        content: dict[str, Any] = {
            "identity": self.identity.public_key,
            "sequence": self.sequence,
            "issued_at": issued_at,
            "expires_at": issued_at + 3_600,
        }
        directory = KeyDirectory(**(content | self.content | changes))
        return self.signer.sign(directory, self.delegation(issued_at, directory.next_identity_hash))

    def delegation(self, issued_at: int, next_identity_hash: bytes = b"") -> SignedDelegation:
        begin, end = issued_at - 60, issued_at + DAY
        return self.identity.delegate(self.signer.public_key, begin, end, next_identity_hash)

    def states(self, issued_at: int = NOW, **changes: Any) -> VerifiedDirectory:
        return read_directory(self.signed(issued_at, **changes), self.identity.public_key)


def history_of(*shown: VerifiedDirectory, identity: IdentityKey = IDENTITY) -> KeyHistory:
    """A client that was shown these, in this order."""
    history = KeyHistory(identity.public_key)
    for each in shown:
        history.directories.judge(each)
    return history


def admit_all(history: KeyHistory, signed: Iterable[SignedKeyDirectory], now: int) -> None:
    for each in history.in_order(list(signed)):
        history.admit(each, now)
