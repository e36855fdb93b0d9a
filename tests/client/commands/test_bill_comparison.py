"""The relay's statement against the client's bills: each fault is found, named, and comes with its proof."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from blindrelay.client.bill_journal import KeptExchange, KeptReceipt
from blindrelay.client.commands.bill.comparison import (
    NOT_FORWARDED,
    SETTLING_SECONDS,
    Comparison,
    Kind,
    compare,
)
from blindrelay.client.commands.bill.rounding import MOST_DEVIATIONS, deviations
from blindrelay.testbed.billing_bridge import NOW, BillingBridge
from blindrelay.trust import sign_receipt
from blindrelay.v1.accounts_pb2 import LineState, StatementLine
from blindrelay.v1.outer_status import OuterStatus
from blindrelay.v1.receipts_pb2 import (
    Basis,
    Count,
    Measure,
    Receipt,
    Rounding,
    SignedReceipt,
    Statement,
)
from blindrelay.v1.units import rounded_units

from ..bills import KEY, MONTH, RELAY, account, exchange, kept_by, line

BRIDGE, STRANGER = BillingBridge(), BillingBridge(seed=5)
ENVELOPE, OTHER = BRIDGE.envelope(1), BRIDGE.envelope(2)
RECEIPT = BRIDGE.receipt(ENVELOPE)
TWIN = BRIDGE.receipt(ENVELOPE, replica_id=bytes(range(16)))
DEARER = BRIDGE.receipt(ENVELOPE, units=50)

Case = Callable[[], Comparison]


def compared(
    *lines: StatementLine,
    kept: Sequence[KeptExchange] | None = None,
    charged: int | None = None,
    now: int = NOW,
) -> Comparison:
    """By default, the client keeps one exchange with its receipt."""
    exchanges = [exchange(ENVELOPE, RECEIPT)] if kept is None else kept
    return compare(account(*lines, charged=charged), kept_by(BRIDGE, *exchanges), MONTH, now)


def kinds(result: Comparison) -> list[Kind]:
    return [each.kind for each in result.differences]


def stated(**changes: Any) -> KeptReceipt:
    """A receipt of 20 units, for a statement that says something else."""
    return BRIDGE.receipt(ENVELOPE, BRIDGE.statement(**changes))


def unsigned(receipt: KeptReceipt) -> KeptReceipt:
    return replace(receipt, signed=SignedReceipt(receipt=receipt.signed.receipt, signature=bytes(64)))


def test_an_honest_statement_has_no_difference() -> None:
    result = compared(line(ENVELOPE, RECEIPT))
    assert (result.differences, result.exchanges, result.units, result.charged) == ([], 1, 20, 20)


def test_lines_of_no_units_are_no_difference() -> None:
    signed = BRIDGE.receipt(ENVELOPE, units=0, basis=Basis.BASIS_NOT_STARTED, statement_hash=b"")
    receipt = replace(signed, statement=b"", coin=b"")
    assert compared(line(ENVELOPE, receipt), kept=[exchange(ENVELOPE, receipt)]).differences == []
    voided = line(ENVELOPE, None, state=LineState.LINE_STATE_VOIDED)
    assert compared(voided, kept=[exchange(ENVELOPE)]).differences == []


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        (lambda: compared(line(ENVELOPE, None, units=20)), Kind.NO_RECEIPT),
        (lambda: compared(line(ENVELOPE, RECEIPT, units=50)), Kind.OTHER_UNITS),
        (lambda: compared(line(ENVELOPE, unsigned(RECEIPT))), Kind.BAD_RECEIPT),
        (lambda: compared(line(ENVELOPE, BRIDGE.receipt(OTHER))), Kind.BAD_RECEIPT),
        (lambda: compared(line(ENVELOPE, STRANGER.receipt(ENVELOPE))), Kind.BAD_RECEIPT),
        (lambda: compared(line(ENVELOPE, DEARER)), Kind.TWO_RECEIPTS),
        (lambda: compared(line(ENVELOPE, RECEIPT), charged=21), Kind.WRONG_SUM),
        (lambda: compared(line(ENVELOPE, RECEIPT), line(OTHER, BRIDGE.receipt(OTHER))), Kind.NOT_SENT),
        (
            lambda: compared(line(ENVELOPE, RECEIPT), kept=[exchange(ENVELOPE, RECEIPT, TWIN)]),
            Kind.TWO_RECEIPTS,
        ),
        (
            lambda: compared(kept=[exchange(ENVELOPE, unsigned(RECEIPT))]),
            Kind.BAD_RECEIPT,
        ),
        (
            lambda: compared(line(ENVELOPE, RECEIPT), kept=[exchange(ENVELOPE, refusal="limit_units")]),
            Kind.REFUSED,
        ),
        (lambda: compared(now=NOW + SETTLING_SECONDS + 1), Kind.NOT_CHARGED),
        (
            lambda: compared(
                line(ENVELOPE, None, state=LineState.LINE_STATE_VOIDED), now=NOW + SETTLING_SECONDS + 1
            ),
            Kind.NOT_CHARGED,
        ),
    ],
    ids=[
        "no receipt",
        "inflated",
        "forged",
        "another exchange's",
        "another bridge's",
        "equivocation",
        "sum",
        "not sent",
        "two from the bridge",
        "unsigned by the bridge",
        "refused and charged",
        "not listed",
        "voided in spite of a receipt",
    ],
)
def test_difference_is_named(case: Case, kind: Kind) -> None:
    assert kinds(case()) == [kind]


def test_units_above_what_the_envelope_allows() -> None:
    small = BRIDGE.envelope(1, max_units=10)
    receipt = BRIDGE.receipt(small)
    result = compared(line(small, receipt), kept=[exchange(small)])
    assert kinds(result) == [Kind.BAD_RECEIPT]
    assert "10 were allowed" in result.differences[0].text


@pytest.mark.parametrize(
    ("receipt", "says"),
    [
        (stated(cost=21_000_000), "its counts come to 20000000"),
        (stated(row=1), "another row for openai, gpt-5.5"),
        (stated(model="claude"), "another row for openai, claude"),
        (stated(counts=[Count(measure=Measure.MEASURE_OUTPUT, amount=11)]), "its counts come to 22000000"),
        (BRIDGE.receipt(ENVELOPE, units=50), "its statement comes to 20"),
        (replace(RECEIPT, statement=RECEIPT.statement + b"\x22\x00"), "not the one that the receipt names"),
        (BRIDGE.receipt(ENVELOPE, price_table_hash=bytes(32)), "by another price table than the one"),
        (BRIDGE.receipt(ENVELOPE, BRIDGE.statement(9, cost=19_000_000)), "its counts come to 18000000"),
    ],
)
def test_statement_that_does_not_lead_to_the_receipt(receipt: KeptReceipt, says: str) -> None:
    result = compared(line(ENVELOPE, receipt), kept=[exchange(ENVELOPE, receipt)])
    assert kinds(result) == [Kind.WRONG_STATEMENT]
    assert says in result.differences[0].text


def test_a_price_table_that_the_relay_does_not_have() -> None:
    unknown = bytes(32)
    receipt = BRIDGE.receipt(ENVELOPE, price_table_hash=unknown)
    result = compared(line(ENVELOPE, receipt), kept=[exchange(ENVELOPE, receipt, prices=unknown)])
    assert kinds(result) == [Kind.WRONG_STATEMENT]
    assert "does not have the bridge's price table" in result.differences[0].text


def test_prices_of_a_receipt_that_only_the_relay_has() -> None:
    receipt = BRIDGE.receipt(ENVELOPE, price_table_hash=bytes(32))
    assert kinds(compared(line(ENVELOPE, receipt), kept=[exchange(ENVELOPE)])) == [Kind.WRONG_STATEMENT]


def test_the_proof_has_what_was_signed() -> None:
    proof = compared(line(ENVELOPE, DEARER)).differences[0].proof
    assert (proof.envelope, proof.receipts) == (ENVELOPE, (RECEIPT, replace(DEARER, statement=b"", coin=b"")))
    assert proof.line is not None
    assert proof.line.units == 50


def test_a_receipt_that_only_the_relay_has_is_checked_and_kept() -> None:
    result = compared(line(ENVELOPE, RECEIPT), kept=[exchange(ENVELOPE)])
    assert (result.units, result.charged, result.differences) == (20, 20, [])
    assert [each.signed for each in result.found.values()] == [RECEIPT.signed]
    forged = compared(line(ENVELOPE, unsigned(RECEIPT)), kept=[exchange(ENVELOPE)])
    assert forged.found == {}


def test_lines_of_other_clients_are_counted_apart() -> None:
    others = line(OTHER, BRIDGE.receipt(OTHER), token="server")
    earlier = line(OTHER, BRIDGE.receipt(OTHER), at=NOW - 3_600)
    for foreign in (others, earlier):
        result = compared(line(ENVELOPE, RECEIPT), foreign)
        assert (result.differences, result.others, result.others_units) == ([], 1, 20)


def test_inflated_lines_of_other_clients_are_found() -> None:
    result = compared(line(ENVELOPE, RECEIPT), line(OTHER, BRIDGE.receipt(OTHER), token="server", units=21))
    assert kinds(result) == [Kind.OTHER_UNITS]


def test_other_relays_keys_and_months_are_not_missed() -> None:
    late = NOW + SETTLING_SECONDS + 1
    mine = exchange(ENVELOPE, RECEIPT)
    elsewhere = replace(mine, relay="another.example:443")
    another_key = replace(mine, key="ffffffff")
    for each in (elsewhere, another_key):
        assert compared(kept=[each], now=late).differences == []
    earlier = BRIDGE.envelope(1, issued_at=NOW - 86_400 * 40)
    kept = [exchange(earlier, BRIDGE.receipt(earlier))]
    assert compared(kept=kept, now=late).differences == []
    assert (mine.relay, mine.key) == (RELAY, KEY)


def test_a_receipt_is_given_time_to_settle() -> None:
    result = compared(now=NOW + SETTLING_SECONDS)
    assert (result.settling, result.differences) == (1, [])


def test_a_refusal_by_the_bridge_may_be_charged() -> None:
    """The relay lost the bridge after the provider had been asked: an estimate is charged."""
    kept = [exchange(ENVELOPE, refusal="bridge_unavailable")]
    assert compared(line(ENVELOPE, RECEIPT), kept=kept).differences == []


@pytest.mark.parametrize("refusal", sorted(NOT_FORWARDED))
def test_a_refusal_by_the_relay_is_not_charged(refusal: str) -> None:
    kept = [exchange(ENVELOPE, refusal=refusal)]
    assert kinds(compared(line(ENVELOPE, RECEIPT), kept=kept)) == [Kind.REFUSED]


def test_every_refusal_is_one_of_the_closed_list() -> None:
    assert {status.details for status in OuterStatus} >= NOT_FORWARDED


def test_a_receipt_that_is_no_message_is_a_difference() -> None:
    foreign = line(OTHER, BRIDGE.receipt(OTHER))
    foreign.receipt.receipt = b"\xff"
    assert kinds(compared(line(ENVELOPE, RECEIPT), foreign)) == [Kind.BAD_RECEIPT, Kind.NOT_SENT]


def test_receipt_of_another_exchange_for_another_client() -> None:
    foreign = line(OTHER, BRIDGE.receipt(BRIDGE.envelope(3)), token="server")
    assert kinds(compared(line(ENVELOPE, RECEIPT), foreign)) == [Kind.BAD_RECEIPT]


def test_signature_of_a_key_without_delegation() -> None:
    thief = BillingBridge(seed=9)
    signed = sign_receipt(Receipt.FromString(RECEIPT.signed.receipt), thief.signer)
    stolen = line(ENVELOPE, replace(RECEIPT, signed=signed, delegation=thief.delegation))
    assert kinds(compared(stolen)) == [Kind.BAD_RECEIPT]


@pytest.mark.parametrize(("units", "found"), [(50, [Kind.BIASED]), (30, [])])
def test_a_bridge_that_rounds_up_is_found_by_the_sum(units: int, found: list[Kind]) -> None:
    """Each coin would allow it. 34 units are 30 more often than 50."""
    kept, lines = [], []
    for number in range(30):
        envelope = BRIDGE.envelope(number)
        receipt = replace(BRIDGE.receipt(envelope, BRIDGE.statement(17), units=units), coin=b"")
        kept.append(exchange(envelope, receipt))
        lines.append(line(envelope, receipt))
    assert kinds(compared(*lines, kept=kept)) == found


def test_ten_thousand_exchanges_are_not_called_biased() -> None:
    costs = [output * 2_000_000 for output in range(1, 10_001)]
    kept = []
    for number, cost in enumerate(costs):
        envelope = BRIDGE.envelope(number)
        coin = hashlib.sha256(envelope).digest()[:8]
        units = rounded_units(cost, Rounding.ROUNDING_LADDER, coin, 1_000_000)
        receipt = Receipt(units=units).SerializeToString()
        statement = Statement(cost=cost, rounding=Rounding.ROUNDING_LADDER).SerializeToString()
        kept.append(exchange(envelope, KeptReceipt(SignedReceipt(receipt=receipt), None, statement)))
    assert abs(deviations(kept)) < MOST_DEVIATIONS
