"""What an exchange is sealed with: made when it is wanted, or ahead, while nothing happens (ADR 17)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from blindrelay.client.errors import KeyTrustError
from blindrelay.client.key_ring import KeyRing
from blindrelay.sealing import ClientExchange, SealingError, encapsulate
from blindrelay.trust import VerifiedKey
from blindrelay.v1.envelope import encode_envelope
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.limits import EXCHANGE_ID_SIZE, TIME_STEP, VERSION

PAUSE_SECONDS: Final = 0.002
"""After the last exchange, so that the application runs first."""

MOST_AHEAD: Final = 6
"""Made one after the other and thrown away, each at the end of its step: a minute without an exchange."""


@dataclass(frozen=True, repr=False)
class Encapsulated:
    """A fresh secret, sealed to a key for one exchange.

    Attributes:
        issued_at: Unix seconds, as the envelope says.
        envelope: its exact bytes.
        sealed: seals the request and opens the response.
    """

    key: VerifiedKey
    issued_at: int
    envelope: bytes
    sealed: ClientExchange

    @classmethod
    def to(cls, key: VerifiedKey, issued_at: int, max_units: int) -> Encapsulated:
        """Seals a secret to a key. Raises KeyTrustError if the key is unusable."""
        envelope = encode_envelope(
            Envelope(
                version=VERSION,
                exchange_id=os.urandom(EXCHANGE_ID_SIZE),
                identity=key.identity,
                key_id=key.key_id,
                issued_at=issued_at,
                max_units=max_units,
            )
        )
        try:
            return cls(key, issued_at, envelope, encapsulate(envelope, key.config))
        except SealingError as error:
            raise KeyTrustError(f"the bridge announces an unusable key: {error}") from None


def step(now: float) -> int:
    """The issued_at of an exchange that begins at `now`, in Unix seconds (section 4)."""
    return int(now) // TIME_STEP * TIME_STEP


class EncapsulationAhead:
    """At most one encapsulation, for the next exchange of one event loop.

    It lasts until the end of its step of time: an older issued_at would tell the relay when it was made.
    """

    def __init__(self, keys: KeyRing, max_units: int, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._max_units = max_units
        self._clock = clock
        self._made: Encapsulated | None = None
        self._left = 0
        self._timer: asyncio.TimerHandle | None = None

    def take(self, issued_at: int) -> Encapsulated | None:
        """The one of that time, if it is made and its key is still announced. It is forgotten here."""
        made = self._made
        self.drop()
        if made is None or made.issued_at != issued_at:
            return None
        key = self._keys.announced(made.key, issued_at)
        return None if key is None else replace(made, key=key)

    def make_soon(self) -> None:
        """Makes one after a moment, unless take() or drop() is called before."""
        self.drop()
        self._left = MOST_AHEAD
        self._make_in(PAUSE_SECONDS)

    def drop(self) -> None:
        """Forgets it, and makes none."""
        self._made = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _make_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._make)

    def _make(self) -> None:
        self.drop()
        now = self._clock()
        issued_at = step(now)
        if not self._left or (key := self._keys.draw(issued_at)) is None:
            return
        self._left -= 1
        with suppress(KeyTrustError):  # the next exchange reports it
            self._made = Encapsulated.to(key, issued_at, self._max_units)
        self._make_in(issued_at + TIME_STEP - now)
