"""Scenarios of bills: receipts with their statements."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generator.bill_parts import (
    COIN,
    DAY,
    MAX_UNITS,
    MILLION,
    RECEIPT_LABEL,
    Rows,
    price_table,
    signature_of,
    signed_table,
    units_of,
    valid_delegation,
)
from generator.fixed import ALICE, BOB, IDENTITY, NOW, REPLICA, STRANGER, public
from generator.primitives import encode, sha256
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
    Receipt,
    SignedReceipt,
    Statement,
)

GRACE = 21_600 + 300


def scenarios() -> Iterator[Scenario]:
    yield from _good_bills()
    yield from _receipts()
    yield from _statements()


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
        "price_table_hash": sha256(table or encode(price_table())),
        "replica_id": b"\x11" * 16,
        "ended_at": NOW,
        "statement_hash": sha256(statement or encode(_statement())),
    }
    return Receipt(**fields | changes)


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
    table = encode(price_table()) if table is None else table
    made = _receipt(statement, table) if receipt is None else receipt
    encoded = made if isinstance(made, bytes) else encode(made)
    delegated = encode(delegation or valid_delegation())
    fields: dict[str, Any] = {
        "identity": public(IDENTITY),
        "envelope": ALICE.envelope,
        "coin": COIN,
        "delegation": delegated,
        "delegation_signature": signature_of("blindrelay/v1 delegation", delegated, IDENTITY),
        "price_table": signed_table(table),
        "receipt": encode(SignedReceipt(receipt=encoded, signature=signature_of(label_name, encoded, by))),
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
