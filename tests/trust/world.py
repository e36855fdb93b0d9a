"""A simulation of honest bridges and relays. Times are seconds; signatures were verified before."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from blindrelay.trust import KeyHistory, VerifiedDirectory, VerifiedKey, identity_hash
from blindrelay.v1.keys_pb2 import KeyDirectory, SignedKeyDirectory

from .replicas import IDENTITY, NOW, SUCCESSOR

HASH = identity_hash(SUCCESSOR.public_key)
STEP = 10
EPOCH = 1_200


@dataclass
class Process:
    """A replica's process, as provider_bridge runs one: overlapping keys, a directory at most 30 s old."""

    name: int
    started_at: int
    skew: int
    successor: bytes = b""
    sequence: int = 0
    keys: list[VerifiedKey] = field(default_factory=list)
    newest: VerifiedDirectory | None = None

    def directory(self, now: int) -> VerifiedDirectory:
        at = now + self.skew
        if not self.keys or self.keys[-1].not_after - at < EPOCH // 2:
            self.keys.append(self._key(at))
            self.newest = None
        if self.newest is None or at - self.newest.issued_at >= 30:
            self.newest = self._state(at)
        return self.newest

    def _key(self, at: int) -> VerifiedKey:
        name = self.name.to_bytes(8) + len(self.keys).to_bytes(8)
        return VerifiedKey(IDENTITY.public_key, name, b"", at // 10 * 10, at // 10 * 10 + EPOCH)

    def _state(self, at: int) -> VerifiedDirectory:
        self.sequence += 1
        replica_id = self.name.to_bytes(16)
        statement = KeyDirectory(replica_id=replica_id, sequence=self.sequence, issued_at=at)
        return VerifiedDirectory(
            identity=IDENTITY.public_key,
            replica_id=replica_id,
            sequence=self.sequence,
            started_at=self.started_at + self.skew,
            issued_at=at,
            expires_at=at + EPOCH,
            next_identity_hash=self.successor,
            keys=tuple(key for key in self.keys if key.not_after >= at),
            signed=SignedKeyDirectory(directory=statement.SerializeToString()).SerializeToString(),
            signing_key=self.name.to_bytes(32),
        )


class World:
    """Replicas that rotate, stop, start and announce; two relays that renew each minute; two clients."""

    def __init__(self, seed: int, replicas: int) -> None:
        self.random = random.Random(seed)
        self.count = 0
        self.now = NOW
        self.successor = b""
        self.processes = [self._start() for _ in range(replicas)]
        self.caches: list[list[VerifiedDirectory]] = [[], []]
        self.renewed = [self.random.randrange(60) for _ in range(2)]
        self.clients = [KeyHistory(IDENTITY.public_key) for _ in range(2)]

    def _start(self) -> Process:
        self.count += 1
        return Process(self.count, self.now, self.random.randint(-15, 15), self.successor)

    def run(self, seconds: int) -> None:
        for _ in range(0, seconds, STEP):
            self.now += STEP
            self._operate()
            for relay in range(2):
                if (self.now - NOW) % 60 == self.renewed[relay] // 10 * 10:
                    self.caches[relay] = [each.directory(self.now) for each in self.processes]
                if self.random.random() < 0.02:
                    self.fetch(relay)

    def _operate(self) -> None:
        if self.random.random() < 0.005:
            self.processes[self.random.randrange(len(self.processes))] = self._start()
        if self.random.random() < 0.001:
            self.successor = HASH
            for each in self.processes:
                each.successor, each.newest = HASH, None

    def fetch(self, relay: int) -> None:
        for directory in self.caches[relay]:
            self.clients[relay].directories.judge(directory)
