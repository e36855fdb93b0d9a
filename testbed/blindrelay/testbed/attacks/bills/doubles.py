"""Ledgers and clients with one check of bills taken out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from unittest.mock import patch

from blindrelay.client.commands.bill import comparison, statement_check
from blindrelay.client.commands.bill.comparison import Kind
from blindrelay.ledger.books import settlement, store
from blindrelay.testbed.attacks.doubles.double import Double
from blindrelay.trust import receipts, statements
from blindrelay.v1.receipts_pb2 import Statement


@contextmanager
def without_signatures() -> Iterator[None]:
    """Nobody verifies the signature of a receipt, a watermark or a price table."""
    with patch.object(receipts, "_check_signature", lambda *_: None):
        yield


@contextmanager
def without_identity() -> Iterator[None]:
    """The delegation may be any identity's."""
    with (
        patch("blindrelay.ledger.bills.bill_signer", _any_signer),
        patch.object(receipts, "_check_identity", lambda *_: None),
        _claim_without("AND exchange.identity = given.identity"),
    ):
        yield


def _claim_without(*conditions: str) -> AbstractContextManager[object]:
    """The statement by which a receipt settles an exchange, without these conditions."""
    text = settlement._CLAIM.text
    for condition in conditions:
        if condition not in text:
            raise ValueError(f"the books do not have the condition {condition!r}: follow their change here")
        text = text.replace(condition, "")
    return patch.object(settlement, "_CLAIM", replace(settlement._CLAIM, text=text))


def _any_signer(delegation: object, identity: bytes) -> receipts.BillSigner:
    from blindrelay.v1.keys_pb2 import Delegation

    claimed = Delegation.FromString(delegation.delegation)  # type: ignore[attr-defined]
    return receipts.BillSigner(claimed.identity, claimed.signing_key)


@contextmanager
def without_first_receipt_stands() -> Iterator[None]:
    """Books in which each receipt charges, however often it comes."""
    with _claim_without("AND exchange.receipt IS NULL", "AND exchange.state NOT IN (2, 3)"):
        yield


@contextmanager
def without_closing() -> Iterator[None]:
    """Books in which a receipt charges although a watermark has closed its exchange."""
    with _claim_without("AND exchange.state NOT IN (2, 3)"):
        yield


@contextmanager
def without_limit_of_units() -> Iterator[None]:
    """Nobody compares a receipt's units with what the envelope allows; neither does the schema."""
    limit = "AND given.units <= CASE WHEN given.state = 2 THEN max_units ELSE 0 END"
    unchecked = (*store._SETTINGS, "PRAGMA ignore_check_constraints = ON")
    with (
        _claim_without(limit),
        patch.object(store, "_SETTINGS", unchecked),
    ):
        yield


def without_difference(kind: Kind) -> Double:
    """A client that does not look for this kind of difference."""

    @contextmanager
    def blind() -> Iterator[None]:
        real = comparison.compare

        def compare(*arguments: object) -> comparison.Comparison:
            result = real(*arguments)  # type: ignore[arg-type]
            result.differences = [each for each in result.differences if each.kind is not kind]
            return result

        with patch("blindrelay.testbed.attacks.bills.scene.compare", compare):
            yield

    return blind


@contextmanager
def without_statement_hash() -> Iterator[None]:
    """Nobody compares a statement with the hash in the receipt."""

    def read(encoded: bytes, _: object) -> Statement:
        return Statement.FromString(encoded)

    with (
        patch.object(statements, "read_statement", read),
        patch.object(statement_check, "read_statement", read),
    ):
        yield
