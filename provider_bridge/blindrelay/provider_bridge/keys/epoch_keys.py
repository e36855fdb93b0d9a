"""The sealing keys of one process, one for each epoch (spec/protocol.md, sections 4.1 to 4.3).

They are drawn in memory and dropped when their epoch is over.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable
from typing import Final

from blindrelay.provider_bridge.clock import Clock
from blindrelay.provider_bridge.errors import DelegationEndedError
from blindrelay.provider_bridge.keys.signatory import Signatory
from blindrelay.sealing import SealingKey
from blindrelay.v1.keys_pb2 import KeyDirectory, SignedKeyDirectory
from blindrelay.v1.limits import REPLAY_WINDOW, REPLICA_ID_SIZE, TIME_STEP

REISSUE_AFTER: Final = 30
"""Seconds. On request, an older directory is signed again, since clients use its issued_at as a clock."""

_CHECK_EVERY: Final = 5.0


class EpochKeys:
    """Keys that overlap: a new one is drawn when the newest has less than half an epoch left.

    Attributes:
        replica_id: 16 random bytes, this process's name among the identity's replicas.
        started_at: Unix seconds.
    """

    def __init__(
        self,
        signatory: Signatory,
        clock: Clock,
        *,
        epoch: int,
        on_change: Callable[[], None] = lambda: None,
        price_table_hash: Callable[[], bytes] = lambda: b"",
    ) -> None:
        """`epoch` is in seconds, a multiple of 10. `on_change` is called whenever a later key has been drawn
        or dropped. `price_table_hash` gives what directories name: 32 bytes, or none.
        """
        self._signatory = signatory
        self._clock = clock
        self._epoch = epoch
        self._on_change: Callable[[], None] = lambda: None
        self.replica_id = os.urandom(REPLICA_ID_SIZE)
        self.started_at = int(clock.now())
        self._price_table_hash = price_table_hash
        self._named_hash = b""
        self._keys: dict[bytes, SealingKey] = {}
        self._sequence = 0
        self._directory: SignedKeyDirectory | None = None
        self._issued_at = 0
        self._expires_at = 0
        self.advance()
        self._on_change = on_change

    @property
    def identity(self) -> bytes:
        """The identity of these keys, 32 bytes."""
        return self._signatory.identity

    @property
    def live(self) -> int:
        """How many keys are held."""
        return len(self._keys)

    @property
    def key_ids(self) -> list[bytes]:
        """Of the keys that are held, oldest first."""
        return list(self._keys)

    @property
    def oldest_age(self) -> float:
        """Seconds, to ten, since the oldest key was drawn: how far back a thief could open exchanges."""
        ends = (key.not_after for key in self._keys.values())
        return self._clock.now() - (min(ends, default=0) - self._epoch)

    @property
    def seconds_left(self) -> float:
        """How long this replica may still speak for the identity; infinite if it holds the identity key."""
        return self._signatory.ends_at() - self._clock.now()

    def check_delegation(self) -> None:
        """Raises DelegationEndedError if clients would refuse what is signed now."""
        if not self.may_sign:
            raise DelegationEndedError

    @property
    def may_sign(self) -> bool:
        """Whether clients would accept what is signed now."""
        return self._signatory.ends_at() > int(self._clock.now())

    def find(self, key_id: bytes) -> SealingKey | None:
        """The key with that id, or None if it has been dropped or never existed here."""
        self.advance()
        return self._keys.get(key_id)

    def directory(self) -> SignedKeyDirectory:
        """The signed directory of the keys that clients may use now. Raises DelegationEndedError."""
        self.advance()
        self.check_delegation()
        now = int(self._clock.now())
        if self._price_table_hash() != self._named_hash:
            self._directory = None
        if self._directory is None or now >= min(self._reissue_at, self._expires_at):
            self._directory = self._sign(now)
        return self._directory

    @property
    def _reissue_at(self) -> int:
        return self._issued_at + min(REISSUE_AFTER, self._epoch // 2)

    def advance(self) -> None:
        """Draws the next key when it is due, and drops keys whose time is over."""
        now = self._clock.now()
        over = [key for key in self._keys.values() if now > key.not_after + REPLAY_WINDOW]
        if over:
            self._drop(over)
        newest = max((key.not_after for key in self._keys.values()), default=0)
        if newest - now < self._epoch / 2:
            # If no key covers the present, as at the start, the new one also covers clients with slow clocks.
            self._draw(not_before=self._floor(now if newest >= now else now - REPLAY_WINDOW))

    async def keep_current(self) -> None:
        """Advances until cancelled, so that keys are dropped and warnings are given even without requests."""
        while True:
            await asyncio.sleep(_CHECK_EVERY)
            self.advance()
            self._signatory.look_after()

    def _draw(self, not_before: int) -> None:
        key = SealingKey.generate(not_before, self._floor(self._clock.now()) + self._epoch)
        self._keys[key.key_id] = key
        self._change()

    def _drop(self, over: list[SealingKey]) -> None:
        self._change()
        while over:
            del self._keys[over.pop().key_id]
        # Exchanges that were cut may remain in reference cycles, with the keys of their records.
        gc.collect()

    def _change(self) -> None:
        self._directory = None
        self._on_change()

    def _sign(self, now: int) -> SignedKeyDirectory:
        self._sequence += 1
        self._named_hash = self._price_table_hash()
        self._issued_at = now
        self._expires_at = int(min(now + self._epoch, self._signatory.ends_at()))
        directory = KeyDirectory(
            identity=self.identity,
            replica_id=self.replica_id,
            sequence=self._sequence,
            started_at=self.started_at,
            issued_at=now,
            expires_at=self._expires_at,
            next_identity_hash=self._signatory.next_identity_hash,
            configs=[key.config for key in self._keys.values() if key.not_after >= now],
            price_table_hash=self._named_hash,
        )
        return self._signatory.sign(directory)

    @staticmethod
    def _floor(seconds: float) -> int:
        return int(seconds) // TIME_STEP * TIME_STEP
