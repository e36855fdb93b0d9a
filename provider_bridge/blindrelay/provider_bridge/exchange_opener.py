"""From a call to a claimed exchange (spec/protocol.md, section 11.1).

Before the claim nothing is authentic, so a refusal says almost nothing. A missing key has an outer status of
its own; every other cause shares one, sent on a tick that all refusals share. An ended delegation and a full
share of claims are reported before the exchange is looked at: they do not depend on it.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import DecodeError

from blindrelay.provider_bridge.claims import ClaimMemory
from blindrelay.provider_bridge.errors import UnclaimedError
from blindrelay.provider_bridge.keys.epoch_keys import EpochKeys
from blindrelay.sealing import (
    BridgeExchange,
    RequestOpener,
    ResponseSealer,
    SealingError,
    SealingKey,
    decapsulate,
)
from blindrelay.serving import CallRefusedError, Context
from blindrelay.v1.envelope import EnvelopeError, envelope_from_metadata
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.exchange_pb2 import ExchangeRequest
from blindrelay.v1.inner_pb2 import RequestPart
from blindrelay.v1.limits import RECORD_SECONDS
from blindrelay.v1.outer_status import OuterStatus

TICK_SECONDS: Final = 0.05
"""Seconds between the ticks on which refusals are sent: far longer than finding any cause takes."""


@dataclass(frozen=True, repr=False)
class ClaimedExchange:
    """An exchange that this process has accepted, and will not accept again.

    Attributes:
        first: the part that its first record held.
        request: opens the following records.
        response: seals the response.
        issued_at: Unix seconds, from its envelope.
        max_units: the most that it may cost, from its envelope.
        envelope_hash: SHA-256 of the envelope's exact bytes.
        rounding_coin: the 8 bytes that round its cost.
    """

    first: RequestPart
    request: RequestOpener
    response: ResponseSealer
    issued_at: int
    max_units: int
    envelope_hash: bytes
    rounding_coin: bytes

    @classmethod
    def of(
        cls, first: RequestPart, exchange: BridgeExchange, encoded: bytes, envelope: Envelope
    ) -> ClaimedExchange:
        """An exchange whose first part has opened, under this envelope, whose exact bytes are `encoded`."""
        return cls(
            first=first,
            request=exchange.request,
            response=exchange.response,
            issued_at=envelope.issued_at,
            max_units=envelope.max_units,
            envelope_hash=hashlib.sha256(encoded).digest(),
            rounding_coin=exchange.rounding_coin,
        )


class ExchangeOpener:
    """Opens and claims the exchanges of one process."""

    def __init__(self, keys: EpochKeys, claims: ClaimMemory) -> None:
        self._keys = keys
        self._claims = claims

    async def open(self, context: Context, peer: bytes) -> ClaimedExchange:
        """Reads the first message and claims its exchange on the peer's account.

        Raises DelegationEndedError if the delegation has ended. Raises CallRefusedError: OVERLOADED if the
        peer's share of claims is full; KEY_UNKNOWN; REFUSED for every other cause.
        """
        message = await _first_message(context)
        # Not earlier: the delegation may end while the first message is awaited.
        self._keys.check_delegation()
        loop = asyncio.get_running_loop()
        refuse_at = refusal_tick(loop.time())
        if not self._claims.has_room(peer):
            raise CallRefusedError(OuterStatus.OVERLOADED)
        try:
            return self._claim(context.invocation_metadata(), message, peer)
        except (UnclaimedError, EnvelopeError, SealingError, DecodeError):
            await asyncio.sleep(refuse_at - loop.time())
            raise CallRefusedError(OuterStatus.REFUSED) from None

    def _claim(self, metadata: Any, message: bytes, peer: bytes) -> ClaimedExchange:
        encoded, envelope = envelope_from_metadata(metadata)
        key = self._key(envelope)
        first = ExchangeRequest.FromString(message)
        exchange = decapsulate(encoded, first.encapsulated_secret, key)
        part = exchange.request.open(first.sealed)
        # Nothing may come between the first record's opening and the claim.
        self._claims.claim(envelope.exchange_id, envelope.issued_at, peer)
        return ClaimedExchange.of(part, exchange, encoded, envelope)

    def _key(self, envelope: Envelope) -> SealingKey:
        if envelope.identity != self._keys.identity:
            raise UnclaimedError
        key = self._keys.find(envelope.key_id)
        if key is None:
            raise CallRefusedError(OuterStatus.KEY_UNKNOWN)
        if not key.takes(envelope.issued_at):
            raise UnclaimedError
        return key


def refusal_tick(since: float) -> float:
    """When an exchange that came at `since` may be refused: the first tick at least a whole step later.

    All refusals of the process share the ticks, so their times reveal no cause. Both times are the event
    loop's, in seconds.
    """
    return (math.ceil(since / TICK_SECONDS) + 1) * TICK_SECONDS


async def _first_message(context: Context) -> bytes:
    """The first message, or no bytes if none arrives: those fail to open like any other nonsense."""
    try:
        async with asyncio.timeout(RECORD_SECONDS):
            message = await context.read()
    except TimeoutError:
        return b""
    return message if isinstance(message, bytes) else b""
