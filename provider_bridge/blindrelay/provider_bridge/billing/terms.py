"""The terms of a bill, agreed on before the provider is asked (spec/protocol.md, annex E.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from blindrelay.provider_bridge.billing.apis import is_text, priced_by, reports_on_request, runs_model
from blindrelay.provider_bridge.billing.billing import Billing
from blindrelay.provider_bridge.billing.prices import BROUGHT, Price, PriceList
from blindrelay.provider_bridge.billing.request_facts import Edit, RequestFacts, ask_for_usage, read_facts
from blindrelay.provider_bridge.billing.usage import Usage
from blindrelay.provider_bridge.billing.usage_counts import Counts
from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.policy.request_policy import PlannedCall
from blindrelay.v1.inner_pb2 import (
    ERROR_CODE_MAX_UNITS,
    ERROR_CODE_NO_PRICE,
    ERROR_CODE_OVERLOADED,
    ERROR_CODE_PRICE_CHANGED,
    RequestHead,
)
from blindrelay.v1.limits import DEFAULT_MAX_UNITS, MILLIONTHS
from blindrelay.v1.receipts_pb2 import (
    MEASURE_CACHE_WRITE,
    MEASURE_CACHE_WRITE_LONG,
    MEASURE_CALL,
    MEASURE_CHARACTER,
    MEASURE_INPUT,
    MEASURE_OUTPUT,
)

_LEAST_TOKEN: Final = 3
"""The fewest bytes of a token, for the most that a request could cost."""

_MOST_OUTPUT: Final = 131_072
"""Tokens that a request is taken to allow if it sets no limit: few models write more."""

_MOST_INPUT: Final = 1_000_000
"""Tokens: no common model reads more. Larger bodies have images and files, whose tokens are few."""

MEAN_TOKEN: Final = 4
"""The usual bytes of a token, to estimate what a request did cost."""

_WRITTEN: Final = (MEASURE_INPUT, MEASURE_CACHE_WRITE, MEASURE_CACHE_WRITE_LONG)


@dataclass(frozen=True)
class Terms:
    """The price list, and the row that the request falls under.

    Attributes:
        price: None if the call costs nothing: it runs no model, or the client pays for it itself.
        text: whether tokens may be estimated.
        brought: whether the credential is the client's own.
        edit: how the bridge asks the provider for a usage report in the body, or None.
    """

    prices: PriceList = field(repr=False)
    price: Price | None
    facts: RequestFacts
    text: bool = False
    brought: bool = False
    edit: Edit | None = None

    def price_of(self, usage: Usage) -> Price | None:
        """The price of the model that the provider says it ran, or else of the one that was asked for."""
        if self.price is None or self.brought:
            return self.price
        names = [name for name in (usage.model, self.facts.model) if name]
        if usage.tier:
            names = [f"{name}@{usage.tier}" for name in names] + names
        return self.prices.find(self.price.provider, *names) or self.price

    def flat_counts(self, price: Price) -> Counts:
        """What is counted of an answered request without a report: the answers that it asked for, and the
        text to read aloud.
        """
        flat = {MEASURE_CALL: self.facts.answers or 1, MEASURE_CHARACTER: self.facts.characters or 0}
        return Counts({measure: amount for measure, amount in flat.items() if measure in price.rates})

    @property
    def estimated_input(self) -> int:
        """Tokens."""
        return self.facts.size // MEAN_TOKEN


async def agree(
    billing: Billing, peer: bytes, head: RequestHead, call: PlannedCall, body: bytearray, max_units: int
) -> Terms:
    """The terms of a call whose body has been checked; the body may be made to ask for usage.

    Raises RequestError: the provider is not asked.
    """
    prices = _accepted_prices(billing, peer, head)
    if not call.injected:
        found = prices.find(call.provider.name, BROUGHT)
        own = found if found is not None and found.row.model == BROUGHT else None
        return Terms(prices, own, RequestFacts("", len(body)), brought=True)
    if not runs_model(call):
        return Terms(prices, None, RequestFacts("", len(body)))
    facts = await read_facts(call, body)
    price = _price(prices, call, facts)
    _check_most(price, facts, max_units)
    asks = facts.streams and reports_on_request(call)
    edit = ask_for_usage(body, facts.options) if asks else None
    return Terms(prices, price, facts, text=is_text(call.url.path), edit=edit)


def _accepted_prices(billing: Billing, peer: bytes, head: RequestHead) -> PriceList:
    if not billing.has_room(peer):
        raise RequestError(ERROR_CODE_OVERLOADED, "the bridge cannot keep a receipt now: try again later")
    prices = billing.accepted(head.price_table_hash)
    if prices is None:
        raise RequestError(
            ERROR_CODE_PRICE_CHANGED, "the bridge's prices have changed: fetch its key directory again"
        )
    if not prices.is_valid(billing.now()):
        raise RequestError(
            ERROR_CODE_NO_PRICE, "the bridge's prices are not valid today: its operator has to renew them"
        )
    return prices


def _price(prices: PriceList, call: PlannedCall, facts: RequestFacts) -> Price:
    price, path = prices.find(call.provider.name, facts.model), call.url.path
    if price is None:
        raise _no_price(f"there is no price for {facts.model[:256] or 'a request that names no model'}")
    if is_text(path):
        return price
    if not priced_by(path) & price.rates.keys():
        raise _no_price(f"the price of {price.model} does not cover {path}")
    if not facts.reports and MEASURE_CALL not in price.rates:
        raise _no_price("a response in this format reports no usage: ask for json")
    return price


def _no_price(message: str) -> RequestError:
    return RequestError(ERROR_CODE_NO_PRICE, f"{message} at this bridge")


def _check_most(price: Price, facts: RequestFacts, max_units: int) -> None:
    """Refuses what could cost more than the envelope allows: the bridge would have to pay the rest."""
    if facts.answers is None and MEASURE_CALL in price.rates:
        raise _uncountable("how many answers this request asks for: send n as a whole number")
    if facts.characters is None and MEASURE_CHARACTER in price.rates:
        raise _uncountable("how long the text to read aloud is: send less of it at once, without padding")
    most = _most(price, facts)
    if most <= max_units:
        return
    advice = "limit its output, as with max_tokens" if facts.max_output is None else "allow less output"
    raise RequestError(
        ERROR_CODE_MAX_UNITS,
        f"this request could cost {most:,} units, and {max_units:,} are allowed: send less, or {advice}",
    )


def _uncountable(what: str) -> RequestError:
    return RequestError(ERROR_CODE_MAX_UNITS, f"the bridge cannot read {what}")


def _most(price: Price, facts: RequestFacts) -> int:
    """Units. Clients that allow the default do not have to limit the output."""
    rates = price.rates
    read = min(facts.size // _LEAST_TOKEN, _MOST_INPUT) * max(rates.get(each, 0) for each in _WRITTEN)
    calls, characters = facts.answers or 1, facts.characters or 0
    flat = calls * rates.get(MEASURE_CALL, 0) + characters * rates.get(MEASURE_CHARACTER, 0)
    allowed = _MOST_OUTPUT if facts.max_output is None else facts.max_output
    written = allowed * rates.get(MEASURE_OUTPUT, 0)
    if facts.max_output is None:
        written = min(written, max(0, DEFAULT_MAX_UNITS * MILLIONTHS - read - flat))
    return -(-(read + written + flat) // MILLIONTHS)
