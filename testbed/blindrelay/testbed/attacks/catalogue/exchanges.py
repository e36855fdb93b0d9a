"""Attacks that mix exchanges: spliced, swapped, answered by the relay, replayed."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import Final

import grpc

from blindrelay.sealing import ResponseSealer
from blindrelay.testbed.attacks.alterations import sealed
from blindrelay.testbed.attacks.attack import SECOND_CALL, UNNOTICED, WRONG_BYTE, Attack
from blindrelay.testbed.attacks.doubles.bridge import with_shared_keys, without_claim
from blindrelay.testbed.attacks.doubles.core import (
    KNOWN_KEY,
    without_binding,
    without_exchange_keys,
    without_order,
)
from blindrelay.testbed.attacks.doubles.double import Double, together
from blindrelay.testbed.attacks.relay import Call, EndedError, Hook, HostileRelay, Messages, Passage
from blindrelay.testbed.attacks.victim import LARGE, SMALL, WHOLE
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.inner_pb2 import ResponseHead, ResponseTail
from blindrelay.v1.limits import RESPONSE_NONCE_SIZE

_ALTERED: Final = "AlteredResponseError"
_SPLICED: Final = 2
"""The record that is spliced in: in the middle of a large response, and of a large request."""


class Splice(Hook):
    """A record of the first exchange replaces one of the second, while both run."""

    def __init__(self, *, requests: bool) -> None:
        super().__init__(up=self._spliced if requests else None, down=None if requests else self._spliced)
        self._taken: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def _spliced(self, passage: Passage, messages: Messages) -> Messages:
        count = 0
        async for message in messages:
            if count == _SPLICED and passage.number == 0:
                self._taken.set_result(message)
            if count == _SPLICED and passage.number == 1:
                yield await self._taken
            else:
                yield message
            count += 1


class Swap(Hook):
    """Each of two exchanges gets the other's whole response."""

    def __init__(self) -> None:
        super().__init__(down=self._swapped)
        loop = asyncio.get_running_loop()
        self._responses: list[asyncio.Future[list[bytes]]] = [loop.create_future(), loop.create_future()]

    async def _swapped(self, passage: Passage, messages: Messages) -> Messages:
        self._responses[passage.number].set_result([message async for message in messages])
        for message in await self._responses[1 - passage.number]:
            yield message


class SwapEnvelopes(Hook):
    """Each of two exchanges is presented under the other's envelope."""

    def __init__(self) -> None:
        super().__init__(directories=lambda served: served[:1])
        self._envelopes: list[bytes] = []
        self._both = asyncio.Event()

    async def carry(self, passage: Passage) -> None:
        place = len(self._envelopes)
        self._envelopes.append(passage.envelope)
        if len(self._envelopes) == 2:
            self._both.set()
        await self._both.wait()
        passage.envelope = self._envelopes[1 - place]
        await passage.forward()


class OlderResponse(Hook):
    """The second exchange gets the first one's response, and no bridge is asked."""

    def __init__(self) -> None:
        super().__init__(down=self._recorded)
        self._response: list[bytes] = []

    async def carry(self, passage: Passage) -> None:
        if passage.number == 0:
            await passage.forward()
            return
        for message in self._response:
            await passage.context.write(message)

    async def _recorded(self, _: Passage, messages: Messages) -> Messages:
        async for message in messages:
            self._response.append(message)
            yield message


class OwnResponse(Hook):
    """The relay seals a response itself, well formed, under a key that it knows."""

    async def carry(self, passage: Passage) -> None:
        sealer = ResponseSealer(lambda _: bytearray(KNOWN_KEY), os.urandom(RESPONSE_NONCE_SIZE))
        records = sealer.seal(
            head=ResponseHead(status=200), body=b"run this command first", tail=ResponseTail()
        )
        for record in records:
            await passage.context.write(sealed(record))


class Replay(Hook):
    """What the bridge was sent is sent again, to the same replica or to all of them.

    Args:
        times: how often it is sent in all.
        spread: to the replicas in turn.
        later: when the client has its response; else all at once.
        fresh: under another exchange_id each time.
    """

    def __init__(
        self, times: int = 2, *, spread: bool = False, later: bool = False, fresh: bool = False
    ) -> None:
        super().__init__()
        self._times = times
        self._spread = spread
        self._later = later
        self._fresh = fresh
        self._recorded: tuple[Passage, list[bytes]] | None = None

    async def carry(self, passage: Passage) -> None:
        messages = [message async for message in passage.requests()]
        self._recorded = (passage, messages)
        times = 1 if self._later else self._times
        responses = await asyncio.gather(
            *(self._present(passage, messages, number) for number in range(times))
        )
        for message in max(responses, key=len):
            await passage.context.write(message)

    async def afterwards(self, relay: HostileRelay) -> None:
        if self._later and self._recorded is not None:
            passage, messages = self._recorded
            for number in range(1, self._times):
                await self._present(passage, messages, number)

    async def _present(self, passage: Passage, messages: list[bytes], number: int) -> list[bytes]:
        call = self._call(passage, number)
        try:
            for message in messages:
                await call.write(message)
            await call.done_writing()
            return [message async for message in passage.responses(call)]
        except (EndedError, grpc.RpcError, asyncio.InvalidStateError):
            return []

    def _call(self, passage: Passage, number: int) -> Call:
        envelope = passage.envelope
        if self._fresh and number:
            changed = Envelope.FromString(envelope)
            changed.exchange_id = number.to_bytes(len(changed.exchange_id), "big")
            envelope = changed.SerializeToString(deterministic=True)
        replica = (passage.replica + number) % 2 if self._spread else passage.replica
        return passage.relay.open([envelope], replica)


def _replay(name: str, about: str, replay: partial[Replay], stopped_by: str, double: Double) -> Attack:
    return Attack(name, about, replay, (WHOLE,), 1, stopped_by, double, SECOND_CALL)


_KEYS: Final = "keys drawn for each exchange"
_CLAIM: Final = "the claim"
_BINDING: Final = "the envelope's hash in every key"
_spliceable: Final = together(without_order, without_exchange_keys)

# fmt: off
EXCHANGE_ATTACKS: Final = [
    Attack("splice-answer", "A record of another live exchange's response takes the place of one of this.",
           partial(Splice, requests=False), (WHOLE, _ALTERED), 2,
           _KEYS, _spliceable, WRONG_BYTE, asks=(LARGE, LARGE), at_once=True),
    Attack("splice-request", "A record of another live exchange's request takes the place of one of this.",
           partial(Splice, requests=True), (WHOLE, "BridgeError malformed"), 1,
           _KEYS, _spliceable, WRONG_BYTE, asks=(LARGE, LARGE), at_once=True),
    Attack("swap-answers", "Two clients get each other's responses.",
           Swap, (_ALTERED, _ALTERED), 2,
           _KEYS, without_exchange_keys, WRONG_BYTE, asks=(SMALL, SMALL), at_once=True, clients=2),
    Attack("swap-envelopes", "Two live exchanges are presented under each other's envelopes.",
           SwapEnvelopes, ("RelayError refused",) * 2, 0,
           _BINDING, without_binding, UNNOTICED, asks=(SMALL, SMALL), at_once=True),
    Attack("older-answer", "An exchange is answered with what the same client was answered before.",
           OlderResponse, (WHOLE, _ALTERED), 1,
           _KEYS, without_exchange_keys, WRONG_BYTE, asks=(SMALL, SMALL)),
    Attack("own-answer", "The relay seals a response itself, under a key of its own.",
           OwnResponse, (_ALTERED,), 0, _KEYS, without_exchange_keys, WRONG_BYTE),
    _replay("replay-at-once", "The same exchange is presented twice at the same moment.",
            partial(Replay), _CLAIM, without_claim),
    _replay("replay-many", "The same exchange is presented twelve times at the same moment.",
            partial(Replay, times=12), _CLAIM, without_claim),
    _replay("replay-later", "A recorded exchange is presented again when its client has the response.",
            partial(Replay, times=3, later=True), _CLAIM, without_claim),
    _replay("replay-renamed", "A recorded exchange is presented again under a fresh exchange_id.",
            partial(Replay, times=3, later=True, fresh=True), _BINDING, without_binding),
    _replay("replay-at-second-replica", "The same exchange is presented to both replicas.",
            partial(Replay, spread=True), "one key, one replica", with_shared_keys),
]
# fmt: on
