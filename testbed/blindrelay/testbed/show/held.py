"""What a relay has of one exchange: shown while it passes, and searched for words when it has passed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from blindrelay.testbed.envelope_fields import envelope_fields
from blindrelay.testbed.show.events import Events
from blindrelay.testbed.tap import Direction

SHOWN: Final = 48
"""Bytes of each message that are shown; searched are all."""

_LONG_WORD: Final = re.compile(r"\w{5,}")
"""Shorter ones are found by accident: four given bytes are somewhere in a megabyte of noise once in 4,000."""


class Held:
    """The relay's column of one exchange.

    Attributes:
        responses: how many messages went to the client.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self._bytes: list[bytes] = []
        self.responses = 0

    @property
    def messages(self) -> int:
        """How much it had so far: envelope, messages and what it read."""
        return len(self._bytes)

    def envelope(self, encoded: bytes, at: float | None = None) -> None:
        """What a relay is to read: it is all the metadata that goes on."""
        self._bytes.append(encoded)
        self._events.say("relay", "envelope", at=at, size=len(encoded), fields=envelope_fields(encoded))

    def message(
        self,
        direction: Direction,
        message: bytes,
        *,
        at: float | None = None,
        deed: str = "",
        changed: Sequence[int] = (),
    ) -> None:
        """One message; `deed`: what the relay did to it; `changed`: places of altered bytes."""
        self._bytes.append(message)
        self.responses += direction is Direction.DOWN
        shown = message[:SHOWN].hex()
        self._events.say(
            "relay",
            direction.value,
            at=at,
            size=len(message),
            hex=shown,
            deed=deed,
            changed=[place for place in changed if place < SHOWN],
        )

    def read(self, label: str, text: bytes) -> None:
        """Something that this relay could read."""
        self._bytes.append(text)
        self._events.say("relay", "read", label=label, text=text.decode(errors="replace"))

    def note(self, label: str, text: str) -> None:
        """Something that the relay does or says, and no bytes."""
        self._events.say("relay", "note", label=label, text=text)

    def search(self, texts: Iterable[str]) -> None:
        """Looks for the long words of these texts in every byte that the relay had."""
        words = sorted({word for text in texts for word in _LONG_WORD.findall(text)})
        had = b"\n".join(self._bytes)
        found = [word for word in words if word.encode() in had]
        self._events.say("relay", "searched", size=sum(map(len, self._bytes)), words=len(words), found=found)
