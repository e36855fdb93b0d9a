"""The measurement of the ledger's books runs, and its books balance."""

from __future__ import annotations

import pytest

from bench.ledger import ledger
from bench.ledger_process import TOGETHER, ledger_process
from bench.ledgers import ledgers
from blindrelay.testbed.postgresql import programs


def test_each_step_of_an_exchange_is_measured() -> None:
    steps = [line.split(" | ")[0] for line in ledger(250).splitlines()[2:]]
    assert steps == ["| start lines", "| end lines", "| receipts", "| together"]


def test_a_whole_ledger_process_is_measured() -> None:
    """It raises if one receipt is not charged."""
    rows = [line.split(" | ")[0] for line in ledger_process(250).splitlines() if line.endswith(" |")]
    steps = ["| step", "| start lines", "| end lines", "| receipts", "| together"]
    assert rows == steps * len(TOGETHER)


@pytest.mark.skipif(programs() is None, reason="there is no PostgreSQL server here")
def test_two_ledgers_that_share_a_server_are_measured() -> None:
    """It raises if their books do not balance."""
    rows = [line.split(" | ")[0] for line in ledgers(200, rounds=1).splitlines()[2:]]
    assert rows == ["| one ledger, SQLite", "| 2 ledgers, PostgreSQL", "| the second over the first"]
