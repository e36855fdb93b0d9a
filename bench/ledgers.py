"""Exchanges a second in the books: one ledger with SQLite, and two that share a PostgreSQL server.

Both commit to the disk. Each ledger is a process. It takes start lines, end lines and receipts in the batches
that gather when it has more to do than it can. The target is 0.8 of what SQLite does.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Final

import psycopg

from bench.ledger import ACCOUNTS, batches, envelope, new_lease, receipt
from blindrelay.ledger.batches import MAX_BATCH
from blindrelay.ledger.books import Books, End, Start
from blindrelay.testbed.postgresql import DURABLE, require_programs, running_server, server_url

LEDGERS: Final = 2
"""That share the PostgreSQL server."""
ROUNDS: Final = 5
"""Of each engine, in turn."""

_NOW: Final = 1_780_272_000
_PATIENCE: Final = 600
"""Seconds for each step."""


def ledgers(exchanges: int, rounds: int = ROUNDS) -> str:
    """A table: exchanges a second of each engine, the median of the rounds, and their ratio."""
    on_sqlite: list[float] = []
    on_postgresql: list[float] = []
    with postgresql() as new_place:
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                on_sqlite.append(_speed(Path(folder, "ledger.db"), 1, exchanges))
            on_postgresql.append(_speed(new_place(), LEDGERS, exchanges))
    one, two = statistics.median(on_sqlite), statistics.median(on_postgresql)
    ratio = statistics.median(b / a for a, b in zip(on_sqlite, on_postgresql, strict=True))
    return "\n".join(
        (
            "| books | exchanges a second |",
            "|---|---|",
            f"| one ledger, SQLite | {one:,.0f} |",
            f"| {LEDGERS} ledgers, PostgreSQL | {two:,.0f} |",
            f"| the second over the first | {ratio:.2f} |",
        )
    )


@contextmanager
def postgresql() -> Iterator[Callable[[], str]]:
    """A server that commits to the disk, while the block runs. Gives URLs of empty databases."""
    with running_server(require_programs(), DURABLE) as folder:
        yield lambda: _new_place(folder)


def _new_place(folder: Path) -> str:
    """An empty schema. The earlier ones are dropped, so that nothing cleans them up meanwhile."""
    with psycopg.connect(server_url(folder), autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS books CASCADE")
        connection.execute("CREATE SCHEMA books")
    return f"{server_url(folder)}&options=-csearch_path%3Dbooks"


def _speed(place: Path | str, processes: int, exchanges: int) -> float:
    """Exchanges a second of all ledgers together."""
    Books(place).close()
    context = multiprocessing.get_context("spawn")
    start, end = context.Barrier(processes + 1), context.Barrier(processes + 1)
    each = exchanges // processes
    started = [
        context.Process(target=_trade, args=(place, number, each, start, end)) for number in range(processes)
    ]
    for process in started:
        process.start()
    start.wait(_PATIENCE)
    began = time.perf_counter()
    end.wait(_PATIENCE)
    seconds = time.perf_counter() - began
    for process in started:
        process.join()
    with Books(place) as books:
        if not books.check().balanced:
            raise RuntimeError("the books do not balance")
    return each * processes / seconds


def _trade(place: Path | str, number: int, exchanges: int, start: Barrier, end: Barrier) -> None:
    """One ledger: a node and accounts of its own."""
    node = bytes([number]) * 16
    with Books(place) as books:
        leases = [new_lease(books, number * ACCOUNTS + each, node).id for each in range(ACCOUNTS)]
        envelopes = [envelope(number * exchanges + each) for each in range(exchanges)]
        start.wait(_PATIENCE)
        sequence = 1
        for batch in batches(list(enumerate(envelopes)), MAX_BATCH):
            starts = [Start(leases[place % ACCOUNTS], each, 600) for place, each in batch]
            books.take_lines(node, sequence, starts, _NOW)
            ends = [End(sequence + place, "ok", 5_000, 20_000) for place in range(len(batch))]
            books.take_lines(node, sequence + len(batch), ends, _NOW)
            books.post([receipt(each) for _, each in batch], _NOW)
            sequence += 2 * len(batch)
        end.wait(_PATIENCE)
