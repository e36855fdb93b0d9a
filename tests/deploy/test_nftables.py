"""The limits by address in front of a relay."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

RULES = Path(__file__).parents[2] / "deploy/nftables/blindrelay.nft"


@pytest.mark.skipif(shutil.which("nft") is None, reason="no nft here")
def test_rules_are_read_by_nft() -> None:
    done = subprocess.run(["nft", "-c", "-f", str(RULES)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_each_limit_holds_for_both_families() -> None:
    rules = RULES.read_text()
    for limit in ("ct count over 100", "limit rate over 20/second"):
        found = [line for line in rules.splitlines() if limit in line]
        assert ["ip saddr" in line for line in found] == [True, False]
        assert ["ip6 saddr & ffff:ffff:ffff:ffff::" in line for line in found] == [False, True]
