"""The short version of `make kills`."""

from __future__ import annotations

from .kills import PARTS, kill_loop


def test_killed_parts_lose_nothing_and_charge_nothing_twice() -> None:
    with kill_loop() as loop:
        loop.run(2 * len(PARTS))
        loop.run_until_posted(20)
        loop.stop_client()
        verdict = loop.judge()
    assert verdict.complaints == []
    assert verdict.check["balanced"] is True
    assert verdict.receipts > 10
    assert verdict.states["posted"] > 10
