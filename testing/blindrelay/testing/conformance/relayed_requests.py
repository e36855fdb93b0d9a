"""Judges what a relay sees of the requests that a program sends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from blindrelay.sealing.padding import FLOOR, padme
from blindrelay.testing.conformance.check import short
from blindrelay.testing.relay_view import RelayedExchange
from blindrelay.v1.exchange_pb2 import ExchangeRequest
from blindrelay.v1.limits import DEFAULT_MAX_UNITS, ENCAPSULATED_SECRET_SIZE

_FULL_RECORD: Final = 65_616
_LAST_RECORD: Final = _FULL_RECORD + 19
"""Bytes: of every record but the last ones, and of the last one at most (section 9.3)."""


def wrong_with_all(exchanges: Sequence[RelayedExchange]) -> str | None:
    """What tells a client from others, or one exchange from another: identifiers, secrets, limits, sizes."""
    if len({exchange.envelope.exchange_id for exchange in exchanges}) != len(exchanges):
        return "an exchange_id was used twice"
    if len({_messages(exchange)[0].encapsulated_secret for exchange in exchanges}) != len(exchanges):
        return "an encapsulated secret was used twice"
    if any(exchange.envelope.max_units != DEFAULT_MAX_UNITS for exchange in exchanges):
        return f"a max_units is not {DEFAULT_MAX_UNITS:,}, and tells the client from others"
    return next(filter(None, map(wrong_with, exchanges)), None)


def wrong_with(exchange: RelayedExchange) -> str | None:
    """What is wrong with the messages of one request."""
    first, *others = _messages(exchange)
    if len(first.encapsulated_secret) != ENCAPSULATED_SECRET_SIZE:
        return f"the first message has an encapsulated secret of {len(first.encapsulated_secret)} bytes"
    if any(message.encapsulated_secret for message in others):
        return "a later message has an encapsulated secret"
    *full, last = (len(message.sealed) for message in (first, *others))
    total = sum(full) + last
    is_padded = total >= FLOOR and padme(total) == total and last <= _LAST_RECORD
    if any(size != _FULL_RECORD for size in full) or not is_padded:
        return f"a request's records have {short([*full, last])} bytes, which is not how they are padded"
    return None


def _messages(exchange: RelayedExchange) -> list[ExchangeRequest]:
    return [ExchangeRequest.FromString(message) for message in exchange.request_messages]
