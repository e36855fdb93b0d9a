"""The sealing keys of one process: drawn in memory, one for an epoch, dropped when it is over
(spec/protocol.md, sections 4.1 to 4.3).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

from blindrelay.provider_bridge.clock import Clock
from blindrelay.sealing import DirectorySigner, IdentityKey, SealingKey
from blindrelay.v1.keys_pb2 import KeyDirectory, SignedKeyDirectory
from blindrelay.v1.limits import REPLAY_WINDOW, REPLICA_ID_SIZE, TIME_STEP

REISSUE_AFTER: Final = 30
"""Seconds: an older directory is signed anew when asked for, so that its issued_at serves as a clock."""

_CHECK_EVERY: Final = 5.0


class EpochKeys:
    """Keys that overlap: a new one is drawn when the newest has less than half an epoch left.

    Attributes:
        replica_id: 16 random bytes, this process's name among the identity's replicas.
    """

    def __init__(
        self,
        identity: IdentityKey,
        clock: Clock,
        *,
        epoch: int,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`epoch` is in seconds, a multiple of 10. `on_change` is told that a key was drawn or dropped."""
        self._identity = identity
        self._clock = clock
        self._epoch = epoch
        self._on_change = on_change
        self._signer = DirectorySigner.generate()
        self.replica_id = os.urandom(REPLICA_ID_SIZE)
        self._started_at = int(clock.now())
        self._keys: dict[bytes, SealingKey] = {}
        self._sequence = 0
        self._directory: SignedKeyDirectory | None = None
        self._issued_at = 0
        # The first key also takes what clients with slow clocks seal: nothing older can be sealed to it.
        self._draw(not_before=self._floor(clock.now() - REPLAY_WINDOW))

    @property
    def identity(self) -> bytes:
        """The identity that these keys belong to, 32 bytes."""
        return self._identity.public_key

    def find(self, key_id: bytes) -> SealingKey | None:
        """The key of that name, or None if it was never here or has been dropped."""
        self.advance()
        return self._keys.get(key_id)

    def directory(self) -> SignedKeyDirectory:
        """The signed directory of the keys that clients may use now."""
        self.advance()
        now = int(self._clock.now())
        if self._directory is None or now - self._issued_at >= min(REISSUE_AFTER, self._epoch // 2):
            self._directory = self._sign(now)
            self._issued_at = now
        return self._directory

    def advance(self) -> None:
        """Draws the next key when it is time, and drops those whose time is over."""
        now = self._clock.now()
        for key in list(self._keys.values()):
            if now > key.not_after + REPLAY_WINDOW:
                self._change()
                del self._keys[key.key_id]
        newest = max((key.not_after for key in self._keys.values()), default=0)
        if newest - now < self._epoch / 2:
            self._draw(not_before=self._floor(now))

    async def keep_current(self) -> None:
        """Advances until cancelled, so that keys are dropped in time even if nobody asks for anything."""
        while True:
            await asyncio.sleep(_CHECK_EVERY)
            self.advance()

    def _draw(self, not_before: int) -> None:
        self._change()
        key = SealingKey.generate(not_before, self._floor(self._clock.now()) + self._epoch)
        self._keys[key.key_id] = key

    def _change(self) -> None:
        self._directory = None
        self._on_change()

    def _sign(self, now: int) -> SignedKeyDirectory:
        self._sequence += 1
        expires_at = now + self._epoch
        directory = KeyDirectory(
            identity=self.identity,
            replica_id=self.replica_id,
            sequence=self._sequence,
            started_at=self._started_at,
            issued_at=now,
            expires_at=expires_at,
            configs=[key.config for key in self._keys.values() if key.not_after >= now],
        )
        # A delegation for this directory alone: the signing key is worth nothing once it has expired.
        delegation = self._identity.delegate(self._signer.public_key, now, expires_at)
        return self._signer.sign(directory, delegation)

    @staticmethod
    def _floor(seconds: float) -> int:
        return int(seconds) // TIME_STEP * TIME_STEP
