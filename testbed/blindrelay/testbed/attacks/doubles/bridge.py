"""Doubles of the bridge: no claim, no envelope check, no deadline, no end of a request, shared keys.

Or the bridge reads on after a request's end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final
from unittest.mock import AsyncMock, patch

import grpc
from google.protobuf.message import DecodeError

from blindrelay.provider_bridge.claims import ClaimMemory
from blindrelay.provider_bridge.exchange import Exchange
from blindrelay.provider_bridge.exchange_opener import ExchangeOpener
from blindrelay.provider_bridge.keys.epoch_keys import EpochKeys
from blindrelay.provider_bridge.request_body import read_body
from blindrelay.provider_bridge.stateless.checker import Checker
from blindrelay.testbed.attacks.doubles.core import without_binding
from blindrelay.testbed.attacks.doubles.double import patches
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.exchange_pb2 import ExchangeRequest

_BRIDGE: Final = "blindrelay.provider_bridge"


def without_claim() -> AbstractContextManager[object]:
    """The bridge remembers no exchange, and looks at no date."""
    return patch.object(ClaimMemory, "claim", lambda *_, **__: None)


def without_envelope_check() -> AbstractContextManager[object]:
    """The bridge takes any envelope for any exchange, and tries the key that it has."""

    def any_envelope(metadata: Any) -> tuple[bytes, Envelope]:
        values = [value for key, value in metadata or () if key == METADATA_KEY]
        envelope = Envelope()
        try:
            envelope.ParseFromString(values[-1] if values else b"")
        except DecodeError:
            envelope.Clear()
        return b"", envelope

    def any_key(self: Any, envelope: Envelope) -> Any:
        return next(iter(self._keys._keys.values()))

    return patches(
        without_binding(),
        without_claim(),
        without_deadline(),
        patch(f"{_BRIDGE}.exchange_opener.envelope_from_metadata", any_envelope),
        patch.object(ExchangeOpener, "_key", any_key),
    )


@contextmanager
def with_shared_keys() -> Iterator[None]:
    """Replicas share their keys, and do not share their memory."""
    shared: list[Any] = []

    def one_for_all(*arguments: Any, **options: Any) -> Any:
        if not shared:
            shared.append(EpochKeys(*arguments, **options))
        return shared[0]

    with patch(f"{_BRIDGE}.bridge.EpochKeys", one_for_all):
        yield


def without_deadline() -> AbstractContextManager[object]:
    """The bridge does not look at the sealed deadline."""
    return patch.object(Exchange, "_end_after", lambda *_: None)


def without_request_end() -> AbstractContextManager[object]:
    """The bridge calls the provider with the part of a request that it has received."""

    async def whatever_came(claimed: Any, context: Any, *_: Any) -> bytearray:
        body = bytearray(claimed.first.body)
        while not claimed.request.finished and (message := await context.read()) is not grpc.aio.EOF:
            body += claimed.request.open(ExchangeRequest.FromString(message).sealed).body
        return body

    return patches(
        patch(f"{_BRIDGE}.exchange.read_body", whatever_came),
        patch.object(Checker, "check", AsyncMock()),
    )


def with_reading_on() -> AbstractContextManager[object]:
    """The bridge reads on after a request's final record, and takes what comes as it is."""

    async def and_more(claimed: Any, context: Any, *others: Any) -> bytearray:
        body = await read_body(claimed, context, *others)
        while (message := await context.read()) is not grpc.aio.EOF:
            body += ExchangeRequest.FromString(message).sealed
        return body

    return patches(
        patch(f"{_BRIDGE}.exchange.read_body", and_more),
        patch.object(Checker, "check", AsyncMock()),
    )
