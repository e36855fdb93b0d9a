"""One exchange's bill. It is settled once, however the exchange ends (spec/protocol.md, annex E.3)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from blindrelay.provider_bridge.aggregate.agreement import Agreement
from blindrelay.provider_bridge.billing import amazon_stream
from blindrelay.provider_bridge.billing.billing import Billing
from blindrelay.provider_bridge.billing.no_bill import NoBill
from blindrelay.provider_bridge.billing.prices import Price
from blindrelay.provider_bridge.billing.terms import MEAN_TOKEN, Terms, agree
from blindrelay.provider_bridge.billing.usage import Usage, UsageTap
from blindrelay.provider_bridge.billing.usage_counts import Counts
from blindrelay.provider_bridge.errors import ProviderError, RequestError, SealedError
from blindrelay.provider_bridge.exchange_opener import ClaimedExchange
from blindrelay.provider_bridge.policy.request_policy import PlannedCall
from blindrelay.provider_bridge.upstream.provider_call import ProviderResponse, Watch
from blindrelay.trust.statements import SALT_SIZE
from blindrelay.v1.inner_pb2 import (
    BODY_END_LENGTH,
    ERROR_CODE_DRAINING,
    ERROR_CODE_INTERNAL,
    ERROR_CODE_MAX_UNITS,
    ERROR_CODE_PROVIDER_FAILED,
    ERROR_CODE_PROVIDER_UNREACHABLE,
    EXECUTION_NOT_STARTED,
    BodyEnd,
    ExchangeError,
    Execution,
    Frame,
    ResponseTail,
)
from blindrelay.v1.limits import MILLIONTHS
from blindrelay.v1.receipts_pb2 import (
    BASIS_ESTIMATED,
    BASIS_METERED,
    BASIS_NOT_STARTED,
    MEASURE_INPUT,
    MEASURE_OUTPUT,
    REPORTED_BY_BRIDGE,
    REPORTED_BY_PROVIDER,
    ROUNDING_LADDER,
    Basis,
    Receipt,
    SignedReceipt,
    Statement,
)
from blindrelay.v1.units import rounded_units


class Bill(Watch, Agreement, Protocol):
    """What an exchange reports for its bill, and what it gets for its end."""

    def started(self, response: ProviderResponse | None) -> None:
        """The provider has responded; None for a tunnel."""

    def frame(self, frame: Frame) -> None:
        """A frame of the provider's in a tunnel."""

    def check_room(self) -> None:
        """Raises RequestError when a tunnel has cost all that it may."""

    def failed(self, error: SealedError) -> ExchangeError:
        """The error to seal, after settling."""

    def left(self, execution: Execution.ValueType) -> None:
        """Settles an exchange whose client is gone, unless it is settled already."""


_NOT_THE_CLIENTS: Final = frozenset(
    {
        ERROR_CODE_PROVIDER_FAILED,
        ERROR_CODE_PROVIDER_UNREACHABLE,
        ERROR_CODE_DRAINING,
        ERROR_CODE_INTERNAL,
    }
)
"""Errors after the start that the client did not cause. It pays for the others, as for leaving."""

Rule = Callable[[], tuple[Basis.ValueType, Counts]]
"""What an exchange is charged for, by how it ended."""


@dataclass(frozen=True)
class _Settled:
    receipt: SignedReceipt | None
    statement: bytes


class KeptBill:
    """A bill of a bridge that keeps bills."""

    def __init__(self, billing: Billing, claimed: ClaimedExchange, peer: bytes) -> None:
        self._billing = billing
        self._claimed = claimed
        self._peer = peer
        self._terms: Terms | None = None
        self._usage = Usage()
        self._tap: UsageTap | None = None
        self._status = 0
        self._streamed = self._tunnel = False
        self._size = 0
        self._settled: _Settled | None = None
        self._checked = 0
        billing.opened(peer, claimed.envelope_hash, claimed.issued_at)

    def withdraw(self, body: bytearray) -> None:
        if self._terms is not None and self._terms.edit is not None:
            self._terms.edit.undo(body)
        self._terms = None

    async def agree(self, call: PlannedCall, body: bytearray) -> None:
        head, max_units = self._claimed.first.head, self._claimed.max_units
        self._terms = await agree(self._billing, self._peer, head, call, body, max_units)
        self._usage = Usage(adds=call.allowed.tunnel)

    def started(self, response: ProviderResponse | None) -> None:
        removes = framed = False
        self._tunnel = self._streamed = response is None
        if response is not None:
            self._status = response.status
            self._streamed = response.is_event_stream
            asked = self._terms is not None and self._terms.edit is not None
            # Without the event, the body would be shorter than its content-length says.
            removes = asked and response.is_event_stream and response.body_end != BODY_END_LENGTH
            framed = response.has_type(amazon_stream.CONTENT_TYPE)
            response.watched_by(self)
        if self._price is not None:
            self._tap = UsageTap(self._usage, self._billing.on_fault, removes=removes, framed=framed)

    @property
    def held(self) -> int:
        return 0 if self._tap is None else self._tap.held

    def take(self, data: bytes) -> bytes:
        self._size += len(data)
        return data if self._tap is None else self._tap.take(data)

    def rest(self) -> bytes:
        return b"" if self._tap is None else self._tap.rest()

    def frame(self, frame: Frame) -> None:
        self.take(frame.data)

    def check_room(self) -> None:
        price, usage = self._price, self._usage
        if price is None or usage.reports == self._checked:
            return
        self._checked = usage.reports
        if price.cost(price.counted(usage.counts)) >= self._claimed.max_units * MILLIONTHS:
            raise RequestError(ERROR_CODE_MAX_UNITS, "the tunnel has cost all that it may: open another one")

    def tail(self, body_end: BodyEnd.ValueType) -> ResponseTail:
        settled = self._settle(self._whole)
        removed = self._tap is not None and self._tap.removed
        return ResponseTail(
            body_end=body_end,
            receipt=settled.receipt,
            statement=settled.statement,
            usage_removed=removed,
        )

    def failed(self, error: SealedError) -> ExchangeError:
        message = error.as_message()
        of_others = isinstance(error, ProviderError) or error.code in _NOT_THE_CLIENTS
        rule = self._not_the_clients_fault if of_others else self._unfinished
        settled = self._settle(_not_started if error.execution == EXECUTION_NOT_STARTED else rule)
        if settled.receipt is not None:
            message.receipt.CopyFrom(settled.receipt)
        message.statement = settled.statement
        return message

    def left(self, execution: Execution.ValueType) -> None:
        self._settle(_not_started if execution == EXECUTION_NOT_STARTED else self._unfinished)
        self._billing.closed(self._peer, self._claimed.envelope_hash)

    def _whole(self) -> tuple[Basis.ValueType, Counts]:
        """The response is complete."""
        terms, usage, price = self._terms, self._usage, self._price
        if terms is None or price is None or self._status >= 400:
            return BASIS_METERED, usage.counts
        flat = terms.flat_counts(price)
        if usage.deltas and (usage.reported or terms.text) and not flat:
            return self._estimate(terms)
        if usage.reported or flat or self._tunnel or not terms.text or terms.brought:
            return BASIS_METERED, usage.counts + flat
        return self._estimate(terms)

    def _unfinished(self) -> tuple[Basis.ValueType, Counts]:
        """The client or the relay is gone, or the time is used up."""
        terms, usage, price = self._terms, self._usage, self._price
        if terms is None or price is None or self._status >= 400:
            return BASIS_METERED, usage.counts
        if not self._size:
            charged = terms.prices.table.charge_unanswered and terms.text
            return BASIS_ESTIMATED, Counts({MEASURE_INPUT: terms.estimated_input} if charged else {})
        if (usage.reported or self._tunnel) and not usage.deltas:
            return BASIS_METERED, usage.counts + terms.flat_counts(price)
        basis, counts = self._estimate(terms)
        return basis, counts + terms.flat_counts(price)

    def _not_the_clients_fault(self) -> tuple[Basis.ValueType, Counts]:
        """The provider broke off, or the bridge has a fault: what was reported so far, or else nothing."""
        return BASIS_METERED, self._usage.counts

    def _estimate(self, terms: Terms) -> tuple[Basis.ValueType, Counts]:
        """What was reported, and beyond it what the bridge can count."""
        counts = self._usage.counts
        if terms.text and not terms.brought:
            if not self._usage.reported:
                counts[MEASURE_INPUT] += terms.estimated_input
            in_body = 0 if self._streamed or self._usage.reported else self._size // MEAN_TOKEN
            counts[MEASURE_OUTPUT] += self._usage.deltas or in_body
        return BASIS_ESTIMATED, counts

    @property
    def _price(self) -> Price | None:
        return None if self._terms is None else self._terms.price_of(self._usage)

    def _settle(self, rule: Rule) -> _Settled:
        """Settles by a rule, once: the first end counts."""
        if self._settled is None:
            self._settled = self._made(*rule())
        return self._settled

    def _made(self, basis: Basis.ValueType, counts: Counts) -> _Settled:
        terms, price, claimed = self._terms, self._price, self._claimed
        units, statement = 0, b""
        if basis != BASIS_NOT_STARTED and price is not None:
            made = self._statement(price, counts, basis)
            units = rounded_units(made.cost, made.rounding, claimed.rounding_coin, claimed.max_units)
            statement = made.SerializeToString(deterministic=True)
        receipt = Receipt(
            envelope_hash=claimed.envelope_hash,
            units=units,
            basis=basis,
            price_table_hash=(self._billing.prices if terms is None else terms.prices).hash,
            statement_hash=hashlib.sha256(statement).digest() if statement else b"",
        )
        kept = self._billing.receipt(self._peer, receipt)
        return _Settled(kept, statement if kept is not None else b"")

    def _statement(self, price: Price, counts: Counts, basis: Basis.ValueType) -> Statement:
        counted = price.counted(counts)
        by_provider = self._usage.reported and basis == BASIS_METERED
        return Statement(
            salt=os.urandom(SALT_SIZE),
            provider=price.provider,
            model=price.model,
            counts=counted,
            reported_by=REPORTED_BY_PROVIDER if by_provider else REPORTED_BY_BRIDGE,
            cost=price.cost(counted),
            row=price.index,
            rounding=self._claimed.first.head.rounding or ROUNDING_LADDER,
        )


def _not_started() -> tuple[Basis.ValueType, Counts]:
    return BASIS_NOT_STARTED, Counts()


def new_bill(billing: Billing | None, claimed: ClaimedExchange, peer: bytes) -> Bill:
    """The bill of a new exchange; `billing` is None at a bridge that keeps none."""
    return NoBill(claimed) if billing is None else KeptBill(billing, claimed, peer)
