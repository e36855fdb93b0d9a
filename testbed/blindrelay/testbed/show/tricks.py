"""What the viewer can have the relay do, as hooks of the hostile relay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import grpc

from blindrelay.testbed.attacks.alterations import Alteration, cut_after, drop, flip, repeat, swap
from blindrelay.testbed.attacks.impostor import Impostor, own_identity
from blindrelay.testbed.attacks.relay import Hook, Messages, Passage
from blindrelay.testbed.show.deeds import watched
from blindrelay.testbed.show.held import Held
from blindrelay.testbed.tap import Direction
from blindrelay.v1.grpc_workarounds import StatusWatch
from blindrelay.v1.outer_status import OuterStatus

_PLACE: Final = 30
"""The byte of a record whose last bit is flipped: among those that are shown."""


@dataclass(frozen=True)
class Trick:
    """One switch of the page."""

    label: str
    about: str
    hook: Callable[[Held], Hook]


def _on_response(alteration: Alteration) -> Callable[[Held], Hook]:
    return lambda held: Hook(up=watched(held, Direction.UP), down=watched(held, Direction.DOWN, alteration))


def _on_request(alteration: Alteration) -> Callable[[Held], Hook]:
    return lambda held: Hook(up=watched(held, Direction.UP, alteration), down=watched(held, Direction.DOWN))


class Replay(Hook):
    """Carries the exchange as it should, and then sends the request to the bridge a second time."""

    def __init__(self, held: Held) -> None:
        super().__init__(up=watched(held, Direction.UP, self._kept), down=watched(held, Direction.DOWN))
        self._held = held
        self._request: list[bytes] = []

    async def carry(self, passage: Passage) -> None:
        await super().carry(passage)
        call = passage.call()
        watch = StatusWatch(call)
        with suppress(grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
            for message in self._request:
                self._held.message(Direction.UP, message, deed="sent again")
                await call.write(message)
            await call.done_writing()
        try:
            async for message in call:
                self._held.message(Direction.DOWN, message)
        except grpc.aio.AioRpcError as error:
            self._held.note("the bridge answers", await _said(watch, error))

    async def _kept(self, _: Passage, messages: Messages) -> Messages:
        async for message in messages:
            self._request.append(message)
            yield message


async def _said(watch: StatusWatch, error: grpc.aio.AioRpcError) -> str:
    status = OuterStatus.of(*await watch.status(error))
    return status.details if status is not None else error.code().name


def _other_keys(held: Held) -> Hook:
    held.note("serves keys of its own", "under an identity of its own: what is sealed to them it can read")
    return Impostor(own_identity)


TRICKS: Final[dict[str, Trick]] = {
    "flip": Trick("flips a bit", "of the response's second record", _on_response(flip(1, _PLACE))),
    "cut": Trick("cuts the response", "after its second record", _on_response(cut_after(2))),
    "drop": Trick("drops a record", "the response's second", _on_response(drop(1))),
    "repeat": Trick("repeats a record", "the response's second", _on_response(repeat(1))),
    "swap": Trick("swaps two records", "the response's second and third", _on_response(swap(1))),
    "request": Trick("alters the request", "one bit of it", _on_request(flip(0, _PLACE))),
    "replay": Trick("replays the request", "to the bridge, a second time", Replay),
    "keys": Trick("serves other keys", "its own, to read all", _other_keys),
}
