"""The measurement of the ledger's books runs, and its books balance."""

from __future__ import annotations

from bench.ledger import ledger
from bench.ledger_process import TOGETHER, ledger_process


def test_each_step_of_an_exchange_is_measured() -> None:
    steps = [line.split(" | ")[0] for line in ledger(250).splitlines()[2:]]
    assert steps == ["| start lines", "| end lines", "| receipts", "| together"]


def test_a_whole_ledger_process_is_measured() -> None:
    """It raises if one receipt is not charged."""
    rows = [line.split(" | ")[0] for line in ledger_process(250).splitlines() if line.endswith(" |")]
    steps = ["| step", "| start lines", "| end lines", "| receipts", "| together"]
    assert rows == steps * len(TOGETHER)
