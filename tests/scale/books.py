"""What the books say after a test."""

from __future__ import annotations

import time
from typing import Final

import httpx2

from blindrelay.testbed.scale.demo import settled
from blindrelay.testbed.scale.topology import ScaledTestbed

MATCHED_SECONDS: Final = 60.0
"""For receipts and lines to find each other."""


def assert_every_answer_is_in_the_books(bed: ScaledTestbed) -> None:
    """A receipt may come by one ledger before the other has the relay's line. Until then it is an orphan."""
    deadline = time.monotonic() + MATCHED_SECONDS
    while (found := settled(bed))["orphans"] and time.monotonic() < deadline:
        pass
    assert found == {"balanced": True, "open": 0, "orphans": 0, "contradictions": 0}, found
    served = httpx2.get(f"{bed.provider}/scripted/requests", timeout=MATCHED_SECONDS).json()
    booked = exchanges(bed)
    assert booked == len(served), f"{booked} of {len(served)} exchanges are in the books"


def exchanges(bed: ScaledTestbed) -> int:
    """How many exchanges of the account have a receipt."""
    said = bed.nodes[0].ledger_says("statement", "testbed")
    return sum(1 for line in said["lines"] if line["state"] == "posted")
