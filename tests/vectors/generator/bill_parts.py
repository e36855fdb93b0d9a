"""What scenarios of bills are made of: a delegation, a price table, signatures, and how units are rounded."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from generator.fixed import ALICE, IDENTITY, NONCE, NOW, REPLICA, public
from generator.primitives import encode, hkdf, label
from nacl.signing import SigningKey

from blindrelay.v1.keys_pb2 import Delegation
from blindrelay.v1.receipts_pb2 import (
    MEASURE_CACHE_READ,
    MEASURE_INPUT,
    MEASURE_OUTPUT,
    ROUNDING_EXACT,
    PriceRow,
    PriceTable,
    Rate,
    SignedPriceTable,
)

RECEIPT_LABEL = "blindrelay/v1 receipt"
DAY = 86_400
COIN = hkdf(ALICE.secret, label("blindrelay/v1 rounding", ALICE.envelope_hash + NONCE))[:8]
MILLION = 1_000_000
MAX_UNITS = 1_000_000
LADDER: list[int] = sorted(
    {0}
    | {step * 10**power for power in range(13) for step in (1, 2, 3, 5, 7)}
    | {15 * 10**power for power in range(12)}
)

Rows = dict[str, tuple[str, dict[str, Any]]]
"""Comments, and the fields that are wrong, by scenario."""


def units_of(cost: int, rounding: int, coin: bytes, max_units: int) -> int:
    """Annex E.4, in fractions."""
    exact = Fraction(cost, MILLION)
    if rounding == ROUNDING_EXACT:
        return min(max_units, -(-exact.numerator // exact.denominator))
    low = max(step for step in LADDER if step <= exact)
    high = LADDER[LADDER.index(low) + 1]
    goes_up = Fraction(int.from_bytes(coin, "big"), 1 << 64) < (exact - low) / (high - low)
    return min(max_units, high if goes_up else low)


def valid_delegation(**changes: Any) -> Delegation:
    fields: dict[str, Any] = {
        "identity": public(IDENTITY),
        "signing_key": public(REPLICA),
        "not_before": NOW - DAY,
        "not_after": NOW + DAY,
    }
    return Delegation(**fields | changes)


def price_row(provider: str, model: str, **rates: int) -> PriceRow:
    by_name = {"input": MEASURE_INPUT, "cache_read": MEASURE_CACHE_READ, "output": MEASURE_OUTPUT}
    listed = [Rate(measure=by_name[name], rate=rate) for name, rate in rates.items()]
    return PriceRow(provider=provider, model=model, rates=listed)


def price_table(**changes: Any) -> PriceTable:
    fields: dict[str, Any] = {
        "version": 1,
        "identity": public(IDENTITY),
        "valid_from": NOW - DAY,
        "valid_to": NOW + DAY,
        "unit": "10 µUSD",
        "rows": [
            price_row("openai", "gpt-5-mini", input=25_000, output=200_000),
            price_row("openai", "gpt-5*", input=125_000, cache_read=12_500, output=MILLION),
            price_row("openai", "*", input=MILLION, output=4 * MILLION),
        ],
    }
    return PriceTable(**fields | changes)


def signature_of(name: str, message: bytes, by: SigningKey = REPLICA) -> bytes:
    return bytes(by.sign(label(name, message)).signature)


def signed_table(
    table: bytes, delegation: Delegation | None = None, by: SigningKey = REPLICA, owner: SigningKey = IDENTITY
) -> bytes:
    delegated = encode(delegation or valid_delegation())
    return encode(
        SignedPriceTable(
            table=table,
            signature=signature_of("blindrelay/v1 price table", table, by),
            delegation=delegated,
            delegation_signature=signature_of("blindrelay/v1 delegation", delegated, owner),
        )
    )
