"""A ledger that is killed while it settles: what it acknowledged is in the books, once, and they balance."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from blindrelay.ledger.books import Books, State

from .trading import NOW, customer, sound

ROOT = Path(__file__).parents[2]
BATCHES = 3
"""Acknowledged in each round before the ledger is killed."""
BATCH = 20

LEDGER = f"""
import sys
from itertools import count
from pathlib import Path
from blindrelay.ledger.books import Books
from tests.ledger.trading import NOW, Exchange, Node
place, digest, round_ = sys.argv[1:]
with Books(place if "://" in place else Path(place)) as books:
    node = Node(books, bytes([int(round_)]) * 16)
    lease = node.lease(bytes.fromhex(digest))
    for batch in count(1):
        names = [b"%s %06d %07d" % (round_.encode(), batch, number) for number in range({BATCH})]
        exchanges = [Exchange(exchange_id=name) for name in names]
        node.start(lease, *exchanges)
        books.post([exchange.receipt(5) for exchange in exchanges], NOW)
        print(batch, flush=True)
"""


@pytest.mark.parametrize("round_", range(1, 4))
def test_what_was_acknowledged_survives_a_kill(place: Path | str, round_: int) -> None:
    with Books(place) as books:
        digest = customer(books, units=10**9)
    command = [sys.executable, "-c", LEDGER, str(place), digest.hex(), str(round_)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as ledger:
        assert ledger.stdout is not None
        acknowledged = [int(line) for _, line in zip(range(BATCHES), ledger.stdout, strict=False)]
        ledger.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in ledger.stdout]
    assert ledger.returncode == -signal.SIGKILL
    with Books(place) as books:
        # It waits for the lock: a database may still run the transaction that the ledger sent last.
        books.tidy(NOW)
        lines = books.lines("ann", "", NOW, limit=10**9)
        posted = [line for line in lines if line.state is State.POSTED]
        assert len(posted) >= acknowledged[-1] * BATCH
        assert books.account("ann").balance == 10**9 - 5 * len(posted)
        sound(books)
