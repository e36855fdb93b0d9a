"""What `make demo-scale` says of the books in the end."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest

from blindrelay.testbed.scale import demo

BALANCED = {"balanced": True, "open": 0, "orphans": 0, "contradictions": 0}


def bed(*checks: dict[str, Any]) -> Mock:
    """A testbed whose books say this, one after the other, and the last for ever."""
    said = list(checks)
    return Mock(nodes=[Mock(ledger_says=lambda _: said.pop(0) if len(said) > 1 else said[0])])


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time passes only while the demo waits."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(demo, "time", Mock(monotonic=lambda: now[0], sleep=sleep))


def test_receipt_that_was_faster_than_its_exchange_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    demo.show_books(bed(BALANCED | {"open": 1}, BALANCED | {"orphans": 1}, BALANCED))
    assert "orphans        0" in capsys.readouterr().out


def test_orphans_that_a_lost_control_process_leaves_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    demo.show_books(bed(BALANCED | {"orphans": 3}))
    shown = capsys.readouterr().out
    assert "orphans        3" in shown
    assert "This is as it should be" in shown
    demo.show_books(bed(BALANCED))
    assert "as it should be" not in capsys.readouterr().out


def test_books_that_do_not_balance_are_a_failure() -> None:
    with pytest.raises(demo.ScaleError, match="the sum is wrong"):
        demo.show_books(bed(BALANCED | {"balanced": False, "problems": ["the sum is wrong"]}))
