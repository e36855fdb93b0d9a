"""Shows what a hostile relay does to a stream: which messages it alters, keeps back, repeats or delays."""

from __future__ import annotations

from blindrelay.testbed.attacks.alterations import Alteration
from blindrelay.testbed.attacks.relay import Messages, Passage
from blindrelay.testbed.show.held import Held
from blindrelay.testbed.tap import Direction


def watched(held: Held, direction: Direction, alteration: Alteration | None = None) -> Alteration:
    """The alteration, or none, with every change shown on the page."""

    async def altered(passage: Passage, messages: Messages) -> Messages:
        if direction is Direction.UP:
            held.envelope(passage.envelope)
        stream = _Stream(held, direction)
        coming = stream.coming(messages)
        async for message in alteration(passage, coming) if alteration else coming:
            stream.goes(message)
            yield message
        stream.ends()

    return altered


class _Stream:
    """What came and what went of one direction. Messages are told apart as objects: an alteration that
    passes one on gives the very same."""

    def __init__(self, held: Held, direction: Direction) -> None:
        self._held = held
        self._direction = direction
        self._came: list[bytes] = []
        self._gone: set[int] = set()
        self._kept: set[int] = set()
        self._all_came = False

    async def coming(self, messages: Messages) -> Messages:
        async for message in messages:
            self._came.append(message)
            yield message
        self._all_came = True

    def goes(self, message: bytes) -> None:
        latest = len(self._came) - 1
        place = next((place for place, came in enumerate(self._came) if came is message), None)
        if place is None:
            self._keep_back(before=latest)
            self._gone.add(latest)
            self._held.message(
                self._direction, message, deed="altered", changed=_changed(self._came[latest], message)
            )
            return
        self._keep_back(before=place)
        self._held.message(self._direction, message, deed=self._deed(place))
        self._gone.add(place)

    def ends(self) -> None:
        self._keep_back(before=len(self._came))
        if not self._all_came:
            self._held.note("ends the response here", "as if this had been all of it")

    def _deed(self, place: int) -> str:
        if place in self._gone:
            return "sent again"
        return "sent late" if place in self._kept else ""

    def _keep_back(self, before: int) -> None:
        """What should have gone on before this one, and has not."""
        for place in sorted(set(range(before)) - self._gone - self._kept):
            self._kept.add(place)
            self._held.message(self._direction, self._came[place], deed="kept back")


def _changed(came: bytes, goes: bytes) -> list[int]:
    return [place for place, pair in enumerate(zip(came, goes, strict=False)) if pair[0] != pair[1]]
