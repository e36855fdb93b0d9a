"""The measurement of the ledger's books runs, and its books balance."""

from __future__ import annotations

from bench.ledger import ledger


def test_each_step_of_an_exchange_is_measured() -> None:
    steps = [line.split(" | ")[0] for line in ledger(250).splitlines()[2:]]
    assert steps == ["| start lines", "| end lines", "| receipts", "| together"]
