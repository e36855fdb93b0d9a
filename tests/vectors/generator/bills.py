"""Scenarios of bills: receipts, statements, price tables, watermarks, and the rounding of units."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from generator.fixed import ALICE, BOB, CONFIG, IDENTITY, NONCE, NOW, REPLICA, STRANGER, key_id, public
from generator.primitives import encode, hkdf, label, sha256
from generator.scenario import Scenario
from nacl.signing import SigningKey

from blindrelay.v1.keys_pb2 import Delegation
from blindrelay.v1.receipts_pb2 import (
    BASIS_ESTIMATED,
    BASIS_METERED,
    BASIS_NOT_STARTED,
    MEASURE_CACHE_READ,
    MEASURE_INPUT,
    MEASURE_OUTPUT,
    REPORTED_BY_PROVIDER,
    ROUNDING_EXACT,
    ROUNDING_LADDER,
    Count,
    PriceRow,
    PriceTable,
    Rate,
    Receipt,
    SignedPriceTable,
    SignedReceipt,
    SignedWatermark,
    Statement,
    Watermark,
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
GRACE = 21_600 + 300

Rows = dict[str, tuple[str, dict[str, Any]]]
"""Comments, and the fields that are wrong, by scenario."""


def scenarios() -> Iterator[Scenario]:
    yield from _roundings()
    yield from _good_bills()
    yield from _receipts()
    yield from _statements()
    yield from _tables()
    yield from _watermarks()


def units_of(cost: int, rounding: int, coin: bytes, max_units: int) -> int:
    """Annex E.4, in fractions."""
    exact = Fraction(cost, MILLION)
    if rounding == ROUNDING_EXACT:
        return min(max_units, -(-exact.numerator // exact.denominator))
    low = max(step for step in LADDER if step <= exact)
    high = LADDER[LADDER.index(low) + 1]
    goes_up = Fraction(int.from_bytes(coin, "big"), 1 << 64) < (exact - low) / (high - low)
    return min(max_units, high if goes_up else low)


def _roundings() -> Iterator[Scenario]:
    costs = (0, 1, 999_999, MILLION, 1_440 * MILLION, 2_000 * MILLION, 6_500_000, 10**15 + 1, 10**18)
    coins = (bytes(8), b"\x7f" + b"\xff" * 7, b"\x80" + bytes(7), b"\xff" * 8, COIN)
    cases = [
        {
            "cost": cost,
            "rounding": rounding,
            "coin": coin,
            "max_units": max_units,
            "units": units_of(cost, rounding, coin, max_units),
        }
        for cost in costs
        for rounding in (ROUNDING_LADDER, ROUNDING_EXACT)
        for coin in coins
        for max_units in (10**12, 1_000)
    ]
    fields = {
        "exchange_secret": ALICE.secret,
        "envelope_hash": ALICE.envelope_hash,
        "response_nonce": NONCE,
        "coin": COIN,
    }
    yield Scenario(
        "rounding", "coin", "An exchange's coin, and units by several.", "accept", {**fields, "cases": cases}
    )


def _delegation(**changes: Any) -> Delegation:
    fields: dict[str, Any] = {
        "identity": public(IDENTITY),
        "signing_key": public(REPLICA),
        "not_before": NOW - DAY,
        "not_after": NOW + DAY,
    }
    return Delegation(**fields | changes)


def _row(provider: str, model: str, **rates: int) -> PriceRow:
    by_name = {"input": MEASURE_INPUT, "cache_read": MEASURE_CACHE_READ, "output": MEASURE_OUTPUT}
    listed = [Rate(measure=by_name[name], rate=rate) for name, rate in rates.items()]
    return PriceRow(provider=provider, model=model, rates=listed)


def _table(**changes: Any) -> PriceTable:
    fields: dict[str, Any] = {
        "version": 1,
        "identity": public(IDENTITY),
        "valid_from": NOW - DAY,
        "valid_to": NOW + DAY,
        "unit": "10 µUSD",
        "rows": [
            _row("openai", "gpt-5-mini", input=25_000, output=200_000),
            _row("openai", "gpt-5*", input=125_000, cache_read=12_500, output=MILLION),
            _row("openai", "*", input=MILLION, output=4 * MILLION),
        ],
    }
    return PriceTable(**fields | changes)


COUNTS = ((MEASURE_INPUT, 6_000), (MEASURE_CACHE_READ, 4_000), (MEASURE_OUTPUT, 640))
COST = 6_000 * 125_000 + 4_000 * 12_500 + 640 * MILLION


def _statement(**changes: Any) -> Statement:
    fields: dict[str, Any] = {
        "salt": b"\x5a" * 32,
        "provider": "openai",
        "model": "gpt-5-2026-08-07",
        "counts": [Count(measure=measure, amount=amount) for measure, amount in COUNTS],
        "reported_by": REPORTED_BY_PROVIDER,
        "cost": COST,
        "row": 1,
        "rounding": ROUNDING_LADDER,
    }
    return Statement(**fields | changes)


def _receipt(statement: bytes = b"", table: bytes = b"", **changes: Any) -> Receipt:
    fields: dict[str, Any] = {
        "version": 1,
        "identity": public(IDENTITY),
        "envelope_hash": ALICE.envelope_hash,
        "units": units_of(COST, ROUNDING_LADDER, COIN, MAX_UNITS),
        "basis": BASIS_METERED,
        "price_table_hash": sha256(table or encode(_table())),
        "replica_id": b"\x11" * 16,
        "ended_at": NOW,
        "statement_hash": sha256(statement or encode(_statement())),
    }
    return Receipt(**fields | changes)


def _signature(name: str, message: bytes, by: SigningKey = REPLICA) -> bytes:
    return bytes(by.sign(label(name, message)).signature)


def _signed_table(
    table: bytes, delegation: Delegation | None = None, by: SigningKey = REPLICA, owner: SigningKey = IDENTITY
) -> bytes:
    delegated = encode(delegation or _delegation())
    return encode(
        SignedPriceTable(
            table=table,
            signature=_signature("blindrelay/v1 price table", table, by),
            delegation=delegated,
            delegation_signature=_signature("blindrelay/v1 delegation", delegated, owner),
        )
    )


def _bill(
    name: str,
    comment: str,
    expect: str,
    *,
    receipt: Receipt | bytes | None = None,
    statement: bytes | None = None,
    table: bytes | None = None,
    delegation: Delegation | None = None,
    by: SigningKey = REPLICA,
    label_name: str = RECEIPT_LABEL,
) -> Scenario:
    statement = encode(_statement()) if statement is None else statement
    table = encode(_table()) if table is None else table
    made = _receipt(statement, table) if receipt is None else receipt
    encoded = made if isinstance(made, bytes) else encode(made)
    delegated = encode(delegation or _delegation())
    fields: dict[str, Any] = {
        "identity": public(IDENTITY),
        "envelope": ALICE.envelope,
        "coin": COIN,
        "delegation": delegated,
        "delegation_signature": _signature("blindrelay/v1 delegation", delegated, IDENTITY),
        "price_table": _signed_table(table),
        "receipt": encode(SignedReceipt(receipt=encoded, signature=_signature(label_name, encoded, by))),
        "statement": statement,
    }
    return Scenario("bill", name, comment, expect, fields)


def _good_bills() -> Iterator[Scenario]:
    yield _bill("metered", "Input, a cache and output, on the ladder.", "accept")
    exact = encode(_statement(rounding=ROUNDING_EXACT))
    units = units_of(COST, ROUNDING_EXACT, COIN, MAX_UNITS)
    yield _bill("exact", "Exact units.", "accept", statement=exact, receipt=_receipt(exact, units=units))
    nothing = _receipt(units=0, basis=BASIS_NOT_STARTED, statement_hash=b"")
    yield _bill("not_started", "The provider was not asked.", "accept", statement=b"", receipt=nothing)
    free = _receipt(units=0, statement_hash=b"")
    yield _bill("free", "A call that runs no model.", "accept", statement=b"", receipt=free)
    much = encode(_statement(counts=[Count(measure=MEASURE_OUTPUT, amount=10**7)], cost=10**13))
    capped = _receipt(much, units=MAX_UNITS)
    yield _bill("capped", "It cost more than max_units.", "accept", statement=much, receipt=capped)
    late = _receipt(ended_at=NOW + DAY + GRACE - (NOW + DAY + GRACE) % 10)
    yield _bill(
        "after_delegation", "An exchange that was accepted in the last second.", "accept", receipt=late
    )


def _receipts() -> Iterator[Scenario]:
    malformed: Rows = {
        "receipt_version_2": ("A later version.", {"version": 2}),
        "envelope_hash_short": ("31 bytes.", {"envelope_hash": bytes(31)}),
        "price_table_hash_missing": ("No price table.", {"price_table_hash": b""}),
        "replica_id_missing": ("No replica.", {"replica_id": b""}),
        "statement_hash_short": ("31 bytes.", {"statement_hash": bytes(31)}),
        "basis_unspecified": ("It rests on nothing.", {"basis": 0}),
        "basis_unknown": ("A basis of a later version.", {"basis": 4}),
        "units_not_started": ("Units for nothing.", {"basis": BASIS_NOT_STARTED}),
        "ended_at_uneven": ("To the second.", {"ended_at": NOW + 1}),
        "ended_at_missing": ("Never.", {"ended_at": 0}),
        "units_beyond_2_63": ("2^63 units.", {"units": 1 << 63}),
    }
    for name, (comment, changes) in malformed.items():
        yield _bill(name, comment, "malformed", receipt=_receipt(**changes))
    yield _bill("receipt_not_protobuf", "A field that ends early.", "malformed", receipt=b"\x12\x20abc")
    wrong: Rows = {
        "foreign_receipt": ("Of another bridge.", {"identity": public(STRANGER)}),
        "other_exchange": ("For another exchange.", {"envelope_hash": BOB.envelope_hash}),
        "over_max_units": ("More than was allowed.", {"units": 2 * MAX_UNITS}),
        "other_table": ("By another table.", {"price_table_hash": bytes(32)}),
        "inflated": ("One step up.", {"units": 2_000}),
        "other_neighbour": ("The neighbour that the coin did not choose.", {"units": _other_neighbour()}),
    }
    for name, (comment, changes) in wrong.items():
        yield _bill(name, comment, "wrong", receipt=_receipt(**changes))
    yield _bill("receipt_forged", "A stranger's signature.", "unsigned", by=STRANGER)
    yield _bill(
        "receipt_other_label", "A watermark's label.", "unsigned", label_name="blindrelay/v1 watermark"
    )
    early = _receipt(ended_at=NOW - DAY - 310)
    yield _bill("before_delegation", "Before its delegation began.", "unsigned", receipt=early)
    late = _receipt(ended_at=NOW + DAY + GRACE + 10)
    yield _bill("long_after_delegation", "Later than any exchange can end.", "unsigned", receipt=late)


def _other_neighbour() -> int:
    chosen = units_of(COST, ROUNDING_LADDER, COIN, MAX_UNITS)
    return next(units for units in (1_000, 1_500) if units != chosen)


def _statements() -> Iterator[Scenario]:
    other = encode(_statement(salt=b"\x5b" * 32))
    yield _bill("other_statement", "Not the one of the hash.", "wrong", statement=other, receipt=_receipt())
    wrong: Rows = {
        "wrong_sum": ("A cost that its counts do not have.", {"cost": COST + 1}),
        "wrong_row": ("A dearer row than the first that applies.", {"row": 2}),
        "row_beyond_the_table": ("A row that the table does not have.", {"row": 3}),
        "no_row": ("A provider without a row.", {"provider": "other"}),
        "rounding_unknown": ("A rounding of a later version.", {"rounding": 3}),
    }
    malformed: Rows = {
        "salt_short": ("31 bytes.", {"salt": bytes(31)}),
        "counted_twice": ("A measure twice.", {"counts": [Count(measure=MEASURE_INPUT, amount=1)] * 2}),
        "counted_unknown": ("A measure of a later version.", {"counts": [Count(measure=99, amount=1)]}),  # type: ignore[arg-type]
        "counted_beyond_2_40": (
            "More than an exchange can have.",
            {"counts": [Count(measure=MEASURE_INPUT, amount=(1 << 40) + 1)]},
        ),
        "statement_too_long": ("1,025 bytes.", {"model": "gpt-5" + "x" * 1_000}),
    }
    for expect, scenarios in (("wrong", wrong), ("malformed", malformed)):
        for name, (comment, changes) in scenarios.items():
            made = encode(_statement(**changes))
            yield _bill(name, comment, expect, statement=made, receipt=_receipt(made))
    missing = _receipt(statement_hash=b"")
    yield _bill("units_without_statement", "Nobody says what for.", "wrong", statement=b"", receipt=missing)
    hidden = _receipt()
    yield _bill("statement_withheld", "A hash, and no statement.", "wrong", statement=b"", receipt=hidden)
    estimate = _receipt(basis=BASIS_ESTIMATED)
    yield _bill("estimated", "The bridge has counted.", "accept", receipt=estimate)


def _tables() -> Iterator[Scenario]:
    def scenario(name: str, comment: str, expect: str, signed: bytes) -> Scenario:
        fields = {"identity": public(IDENTITY), "price_table": signed}
        return Scenario("price_table", name, comment, expect, fields)

    yield scenario("signed", "Three rows.", "accept", _signed_table(encode(_table())))
    malformed: Rows = {
        "version_2": ("A later version.", {"version": 2}),
        "never_valid": ("It ends before it begins.", {"valid_to": NOW - DAY - 1}),
        "valid_from_missing": ("Since ever.", {"valid_from": 0}),
        "unit_missing": ("Nobody knows what a unit is.", {"unit": ""}),
        "star_within": ("A star within a name.", {"rows": [_row("openai", "gpt-*-mini", input=1)]}),
        "model_missing": ("A row without a model.", {"rows": [_row("openai", "", input=1)]}),
        "provider_missing": ("A row without a provider.", {"rows": [_row("", "*", input=1)]}),
        "priced_twice": (
            "A measure twice.",
            {"rows": [PriceRow(provider="a", model="*", rates=[Rate(measure=MEASURE_INPUT, rate=1)] * 2)]},
        ),
        "too_large": ("98,305 bytes or more.", {"unit": "x" * 98_304}),
    }
    for name, (comment, changes) in malformed.items():
        yield scenario(name, comment, "malformed", _signed_table(encode(_table(**changes))))
    foreign = _signed_table(encode(_table(identity=public(STRANGER))))
    yield scenario("foreign_table", "Another bridge's, signed by this one.", "wrong", foreign)
    yield scenario(
        "forged", "A stranger's signature.", "unsigned", _signed_table(encode(_table()), by=STRANGER)
    )
    undelegated = _signed_table(encode(_table()), owner=STRANGER)
    yield scenario("delegation_forged", "A stranger's delegation.", "bad_delegation", undelegated)
    late = _signed_table(encode(_table()), _delegation(not_before=NOW + DAY + 1, not_after=NOW + 2 * DAY))
    yield scenario("delegated_later", "A delegation of a later time.", "unsigned", late)


def _watermarks() -> Iterator[Scenario]:
    def scenario(
        name: str, comment: str, expect: str, *, by: SigningKey = REPLICA, **changes: Any
    ) -> Scenario:
        fields: dict[str, Any] = {
            "version": 1,
            "identity": public(IDENTITY),
            "replica_id": b"\x11" * 16,
            "started_at": NOW - 600,
            "closed_before": NOW - 300,
            "key_ids": [key_id(CONFIG)],
            "open": [ALICE.envelope_hash],
            "count": 7,
            "units": 1_440,
        }
        encoded = encode(Watermark(**fields | changes))
        signature = _signature("blindrelay/v1 watermark", encoded, by)
        delegated = encode(_delegation())
        return Scenario(
            "watermark",
            name,
            comment,
            expect,
            {
                "identity": public(IDENTITY),
                "now": NOW,
                "delegation": delegated,
                "delegation_signature": _signature("blindrelay/v1 delegation", delegated, IDENTITY),
                "watermark": encode(SignedWatermark(watermark=encoded, signature=signature)),
            },
        )

    yield scenario("live", "One exchange is open.", "accept")
    yield scenario("ended", "The process has ended.", "accept", open=[], ended=True)
    yield scenario("most_keys", "64 keys.", "accept", key_ids=[bytes([n]) * 16 for n in range(64)])
    yield scenario("too_many_keys", "65 keys.", "malformed", key_ids=[bytes([n]) * 16 for n in range(65)])
    yield scenario("ended_and_open", "Ended, with an exchange open.", "malformed", ended=True)
    yield scenario("key_id_short", "15 bytes.", "malformed", key_ids=[bytes(15)])
    yield scenario("open_hash_short", "31 bytes.", "malformed", open=[bytes(31)])
    yield scenario("watermark_version_2", "A later version.", "malformed", version=2)
    yield scenario("foreign_watermark", "Of another bridge.", "wrong", identity=public(STRANGER))
    yield scenario("watermark_forged", "A stranger's signature.", "unsigned", by=STRANGER)
