"""What the viewer can have the relay do, as hooks of the hostile relay, with a tap of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import grpc

from blindrelay.testbed.attacks.alterations import Alteration, cut_after, drop, flip, repeat, swap
from blindrelay.testbed.attacks.impostor import Impostor, own_identity
from blindrelay.testbed.attacks.relay import Hook, Messages, Passage
from blindrelay.testbed.show.events import Events
from blindrelay.v1.aio_status import StatusWatch
from blindrelay.v1.outer_status import OuterStatus

SHOWN: Final = 96
"""Bytes of each message that are shown."""

_PLACE: Final = 40
"""The byte whose last bit is flipped, of the second record of an answer: within those that are shown."""


@dataclass(frozen=True)
class Trick:
    """One switch of the page."""

    label: str
    about: str
    hook: Callable[[Events], Hook]


def show_message(events: Events, direction: str, message: bytes, before: bytes | None = None) -> None:
    """Shows one message of the relay's, and where it is not what came."""
    changed = [
        at for at, pair in enumerate(zip(message, before or message, strict=False)) if pair[0] != pair[1]
    ]
    events.say("relay", direction, size=len(message), hex=message[:SHOWN].hex(), changed=changed[:8])


def tapped(events: Events, direction: str, alteration: Alteration | None = None) -> Alteration:
    """An alteration whose results are shown."""

    async def altered(passage: Passage, messages: Messages) -> Messages:
        came: list[bytes] = []

        async def noted() -> Messages:
            async for message in messages:
                came.append(message)
                yield message

        number = 0
        async for message in alteration(passage, noted()) if alteration else noted():
            same_size = number < len(came) and len(came[number]) == len(message)
            show_message(events, direction, message, came[number] if same_size else None)
            number += 1
            yield message

    return altered


def _on_answer(alteration: Alteration) -> Callable[[Events], Hook]:
    return lambda events: Hook(up=tapped(events, "up"), down=tapped(events, "down", alteration))


def _on_request(alteration: Alteration) -> Callable[[Events], Hook]:
    return lambda events: Hook(up=tapped(events, "up", alteration), down=tapped(events, "down"))


class Replay(Hook):
    """Carries the exchange as it should, and then sends the request to the bridge a second time."""

    def __init__(self, events: Events) -> None:
        super().__init__(up=tapped(events, "up", self._kept), down=tapped(events, "down"))
        self._events = events
        self._request: list[bytes] = []

    async def carry(self, passage: Passage) -> None:
        await super().carry(passage)
        self._events.say("relay", "note", text="sends the same request to the bridge once more")
        call = passage.call()
        watch = StatusWatch(call)
        try:
            for message in self._request:
                await call.write(message)
            await call.done_writing()
            async for _message in call:
                self._events.say("relay", "note", text="and got an answer")
        except grpc.aio.AioRpcError as error:
            status = OuterStatus.of(*await watch.status(error))
            said = status.details if status is not None else error.code().name
            self._events.say("relay", "note", text=f"the bridge answers: {said}")

    async def _kept(self, _: Passage, messages: Messages) -> Messages:
        async for message in messages:
            self._request.append(message)
            yield message


def _other_keys(events: Events) -> Hook:
    events.say("relay", "note", text="serves a key of its own, signed by an identity of its own")
    return Impostor(own_identity)


TRICKS: Final[dict[str, Trick]] = {
    "flip": Trick("flip a bit", "of the answer's second record", _on_answer(flip(1, _PLACE))),
    "cut": Trick("cut the answer", "after its second record", _on_answer(cut_after(2))),
    "drop": Trick("drop a record", "the answer's second", _on_answer(drop(1))),
    "repeat": Trick("repeat a record", "the answer's second", _on_answer(repeat(1))),
    "swap": Trick("swap two records", "the answer's second and third", _on_answer(swap(1))),
    "request": Trick("alter the request", "one bit of it", _on_request(flip(0, _PLACE))),
    "replay": Trick("replay the request", "send it to the bridge again", Replay),
    "keys": Trick("serve other keys", "its own, to read what is sealed", _other_keys),
}
