"""Compares the relay's statement with the bills of this client, sans-IO (spec/protocol.md, annex E)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from blindrelay.client.account import AccountStatement
from blindrelay.client.bill import parsed
from blindrelay.client.bill_journal import KeptExchange, KeptReceipt
from blindrelay.client.commands.bill.proofs import Proof, receipt_fault, relayed, verified_receipt
from blindrelay.client.commands.bill.rounding import MOST_DEVIATIONS, deviations
from blindrelay.client.commands.bill.statement_check import statement_fault
from blindrelay.trust import TrustError, WrongBillError, check_receipt
from blindrelay.v1.accounts_pb2 import LineState, StatementLine
from blindrelay.v1.envelope import EnvelopeError
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.receipts_pb2 import PriceTable, Receipt

SETTLING_SECONDS: Final = 600
"""A receipt is in the relay's books within seconds. After this time, a missing one is a difference."""

_MINUTE: Final = 60
"""The times of statement lines are rounded down to it."""

NOT_FORWARDED: Final = frozenset(
    {
        "identity_unknown",
        "key_unknown",
        "lease_unknown",
        "ledger_unavailable",
        "limit_bytes",
        "limit_concurrent",
        "limit_exchanges",
        "limit_rate",
        "limit_units",
        "malformed",
        "not_in_scope",
        "token_unknown",
    }
)
"""The outer statuses with which a relay says that it passed nothing on."""


class Kind(Enum):
    """What differs."""

    NO_RECEIPT = "no_receipt"
    """The relay charged without a receipt of the bridge."""
    BAD_RECEIPT = "bad_receipt"
    """The receipt is not the bridge's, or is for another exchange."""
    OTHER_UNITS = "other_units"
    """The relay charged more or fewer units than the receipt has."""
    REFUSED = "refused"
    """The relay refused the exchange, and charged it."""
    TWO_RECEIPTS = "two_receipts"
    """The bridge signed two receipts for one exchange."""
    WRONG_STATEMENT = "wrong_statement"
    """The bridge's statement does not lead to the receipt."""
    NOT_SENT = "not_sent"
    """The relay charged an exchange under this client's token that this client did not send."""
    NOT_CHARGED = "not_charged"
    """The relay does not charge what the receipt has. It is in the customer's favour."""
    BIASED = "biased"
    """The bridge's rounding exceeds the exact cost by more than chance explains."""
    WRONG_SUM = "wrong_sum"
    """The relay's sum is not that of its lines."""


@dataclass(frozen=True)
class Difference:
    """One difference, and what proves it.

    Attributes:
        kind: for programs.
        exchange: the envelope hash, 32 bytes; empty for a sum.
        text: one sentence.
        proof: the signed bytes that it rests on.
    """

    kind: Kind
    exchange: bytes
    text: str
    proof: Proof


@dataclass
class Comparison:
    """The outcome of comparing one month.

    Attributes:
        month: "YYYY-MM".
        exchanges, units: of this client, as its receipts say.
        charged: units, as the relay's lines say, of this client's exchanges.
        others, others_units: lines of other clients of the account, or from before this client's records.
        settling: this client's exchanges that the relay has not settled yet.
        found: receipts that only the relay had, verified, by envelope hash.
        differences: oldest first.
    """

    month: str
    exchanges: int = 0
    units: int = 0
    charged: int = 0
    others: int = 0
    others_units: int = 0
    settling: int = 0
    found: dict[bytes, KeptReceipt] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)


@dataclass(frozen=True)
class Kept:
    """This client's side.

    Attributes:
        exchanges: by envelope hash.
        tables: verified price tables by hash.
        relay: whose statement is compared, "host:port".
        key: names the token of this client.
    """

    exchanges: Mapping[bytes, KeptExchange]
    tables: Mapping[bytes, PriceTable]
    relay: str
    key: str


def compare(statement: AccountStatement, kept: Kept, month: str, now: int) -> Comparison:
    """Compares a month's statement with this client's bills at `now` (Unix seconds)."""
    result = Comparison(month)
    own_tokens, since = {line.token for line in statement.lines if _is_own(line, kept)}, _since(kept)
    for line in statement.lines:
        known = kept.exchanges.get(line.envelope_hash)
        result.differences += _line_differences(line, known, result.found)
        if known is not None:
            result.charged += line.units
        elif line.token in own_tokens and line.at >= since and line.units:
            text = f"{line.units:,} units are charged under this client's token, and it did not send this"
            result.differences.append(_difference(Kind.NOT_SENT, line, None, text))
        else:
            result.others += 1
            result.others_units += line.units
    _compare_own(statement, kept, now, result)
    _compare_sum(statement, result)
    _compare_rounding(kept, result)
    return result


def _line_differences(
    line: StatementLine, known: KeptExchange | None, found: dict[bytes, KeptReceipt]
) -> Iterator[Difference]:
    """What is wrong with a line alone. Adds to `found` a verified receipt that only the relay has."""
    if not line.receipt.receipt:
        if line.units or line.state == LineState.LINE_STATE_POSTED:
            text = f"{line.units:,} units are charged without a receipt"
            yield _difference(Kind.NO_RECEIPT, line, known, text)
        return
    try:
        receipt = _checked_receipt(line, known)
    except (TrustError, EnvelopeError) as error:
        yield _difference(Kind.BAD_RECEIPT, line, known, f"the receipt does not count: {error}")
        return
    if line.units != receipt.units and line.state == LineState.LINE_STATE_POSTED:
        text = f"the relay charges {line.units:,} units, the receipt says {receipt.units:,}"
        yield _difference(Kind.OTHER_UNITS, line, known, text)
    if known is not None:
        yield from _known_differences(line, known, found)


def _checked_receipt(line: StatementLine, known: KeptExchange | None) -> Receipt:
    """The receipt of a line, verified, for this exchange. Raises TrustError, EnvelopeError."""
    receipt = verified_receipt(line, known)
    if known is not None:
        check_receipt(receipt, known.envelope)
    elif receipt.envelope_hash != line.envelope_hash:
        raise WrongBillError("it is for another exchange")
    return receipt


def _known_differences(
    line: StatementLine, known: KeptExchange, found: dict[bytes, KeptReceipt]
) -> Iterator[Difference]:
    if line.units and known.refusal in NOT_FORWARDED:
        text = f"the relay answered {known.refusal}, and charges {line.units:,} units"
        yield _difference(Kind.REFUSED, line, known, text)
    if not known.receipts:
        found[line.envelope_hash] = relayed(line)
    elif all(each.signed.receipt != line.receipt.receipt for each in known.receipts):
        text = "the bridge signed one receipt for this client and another for the relay"
        yield _difference(Kind.TWO_RECEIPTS, line, known, text)


def _compare_own(statement: AccountStatement, kept: Kept, now: int, result: Comparison) -> None:
    lines = {line.envelope_hash: line for line in statement.lines}
    for name, exchange in kept.exchanges.items():
        if (exchange.relay, exchange.key) != (kept.relay, kept.key) or not _in_month(exchange, result.month):
            continue
        receipts = exchange.receipts or [each for each in [result.found.get(name)] if each is not None]
        if exchange.refusal and not receipts:
            continue
        result.exchanges += 1
        if not receipts:
            continue
        receipt = parsed(Receipt, receipts[0].signed.receipt) or Receipt()
        result.units += receipt.units
        line = lines.get(name)
        result.differences += _own_differences(name, replace(exchange, receipts=receipts), line, kept)
        if receipt.units and (line is None or line.state != LineState.LINE_STATE_POSTED):
            result.settling += 1
            if now > receipt.ended_at + SETTLING_SECONDS:
                text = f"the receipt says {receipt.units:,} units, and the relay charges nothing"
                result.differences.append(Difference(Kind.NOT_CHARGED, name, text, Proof.of(exchange, line)))


def _own_differences(
    name: bytes, exchange: KeptExchange, line: StatementLine | None, kept: Kept
) -> Iterator[Difference]:
    if len(exchange.receipts) > 1:
        text = f"the bridge signed {len(exchange.receipts)} receipts for it"
        yield Difference(Kind.TWO_RECEIPTS, name, text, Proof.of(exchange))
    for receipt in exchange.receipts:
        served_too = line is not None and receipt.signed == line.receipt  # and verified with the line
        if not served_too and (fault := receipt_fault(receipt, exchange.envelope)):
            yield Difference(Kind.BAD_RECEIPT, name, f"what the bridge sent: {fault}", Proof.of(exchange))
        if fault := statement_fault(receipt, exchange, kept.tables):
            yield Difference(Kind.WRONG_STATEMENT, name, fault, Proof.of(exchange))


def _compare_sum(statement: AccountStatement, result: Comparison) -> None:
    total = sum(line.units for line in statement.lines)
    if total != statement.charged:
        text = (
            f"the relay says that {statement.charged:,} units were charged, and its lines add up to {total:,}"
        )
        result.differences.append(Difference(Kind.WRONG_SUM, b"", text, Proof()))


def _compare_rounding(kept: Kept, result: Comparison) -> None:
    if (deviation := deviations(kept.exchanges.values())) > MOST_DEVIATIONS:
        text = f"the bridge rounds up: all units exceed the exact cost by {deviation:.1f} standard deviations"
        result.differences.append(Difference(Kind.BIASED, b"", text, Proof()))


def _difference(kind: Kind, line: StatementLine, known: KeptExchange | None, text: str) -> Difference:
    return Difference(kind, line.envelope_hash, text, Proof.of(known, line))


def _is_own(line: StatementLine, kept: Kept) -> bool:
    known = kept.exchanges.get(line.envelope_hash)
    return known is not None and known.key == kept.key


def _since(kept: Kept) -> int:
    """Unix seconds: where this client's records begin."""
    begins = min((_issued_at(each) for each in kept.exchanges.values()), default=0)
    return begins // _MINUTE * _MINUTE


def _in_month(exchange: KeptExchange, month: str) -> bool:
    return time.strftime("%Y-%m", time.gmtime(_issued_at(exchange))) == month


def _issued_at(exchange: KeptExchange) -> int:
    return Envelope.FromString(exchange.envelope).issued_at
