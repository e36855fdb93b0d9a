"""What an exchange costs in the ledger's books: its start line, its end line, and its receipt.

Lines and receipts come in batches, as on a busy ledger. The targets are 2,000 settlements a second, and at
most 150 µs of CPU for an exchange.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from blindrelay.ledger.books import Books, End, Lease, Receipt, Start
from blindrelay.v1.envelope import encode_envelope
from blindrelay.v1.envelope_pb2 import Envelope

ACCOUNTS: Final = 50
BATCH: Final = 100
"""Lines, or receipts, of one transaction."""
EXCHANGES: Final = 20_000

_NOW: Final = 1_780_272_000
_BRIDGE: Final = b"b" * 32
_NODE: Final = b"n" * 16
_UNITS: Final = 20

T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """Seconds of CPU and of wall clock for some exchanges."""

    what: str
    exchanges: int
    cpu: float
    wall: float

    def row(self) -> str:
        """A row of the table."""
        each = 1e6 * self.cpu / self.exchanges
        return f"| {self.what} | {each:.0f} µs | {self.exchanges / self.wall:,.0f} |"


def ledger(exchanges: int = EXCHANGES, place: str | None = None) -> str:
    """A table: the three steps of an exchange, and their sum. `place` is the URL of an empty database."""
    with tempfile.TemporaryDirectory() as folder, Books(place or Path(folder, "ledger.db")) as books:
        leases = [new_lease(books, number) for number in range(ACCOUNTS)]
        envelopes = [envelope(number) for number in range(exchanges)]
        costs = (
            _measured("start lines", exchanges, _starts(books, leases, envelopes)),
            _measured("end lines", exchanges, _ends(books, exchanges)),
            _measured("receipts", exchanges, _receipts(books, envelopes)),
        )
        if not books.check().balanced:
            raise RuntimeError("the books do not balance")
    total = Cost("together", exchanges, sum(each.cpu for each in costs), sum(each.wall for each in costs))
    return table((*costs, total))


def table(costs: Sequence[Cost]) -> str:
    """One row for each."""
    head = "| step | CPU of one exchange | exchanges a second |\n|---|---|---|"
    return "\n".join((head, *(each.row() for each in costs)))


def _measured(what: str, exchanges: int, steps: Iterator[None]) -> Cost:
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in steps:
        pass
    return Cost(what, exchanges, time.process_time() - cpu, time.perf_counter() - wall)


def _starts(books: Books, leases: Sequence[Lease], envelopes: Sequence[bytes]) -> Iterator[None]:
    for batch in batches(list(enumerate(envelopes))):
        lines = [Start(leases[number % ACCOUNTS].id, envelope, 600) for number, envelope in batch]
        books.take_lines(_NODE, batch[0][0] + 1, lines, _NOW)
        yield


def _ends(books: Books, exchanges: int) -> Iterator[None]:
    for batch in batches(range(exchanges)):
        lines = [End(number + 1, "ok", 5_000, 20_000) for number in batch]
        books.take_lines(_NODE, exchanges + batch[0] + 1, lines, _NOW)
        yield


def _receipts(books: Books, envelopes: Sequence[bytes]) -> Iterator[None]:
    for batch in batches(envelopes):
        books.post([receipt(each) for each in batch], _NOW)
        yield


def batches(things: Sequence[T], size: int = BATCH) -> Iterator[Sequence[T]]:
    """At most so many each."""
    return (things[first : first + size] for first in range(0, len(things), size))


def new_lease(books: Books, number: int, node: bytes = _NODE, now: int = _NOW) -> Lease:
    """A lease of a new account with more units than it needs."""
    name, digest = f"account{number}", hashlib.sha256(bytes([number])).digest()
    books.add_account(name, by="bench", now=_NOW)
    books.credit(name, 10**12, "bench", by="bench", now=_NOW)
    books.add_token(name, "", digest, by="bench", now=_NOW)
    lease = books.lease(digest, node, now)
    if not isinstance(lease, Lease):
        raise TypeError(lease.status)
    return lease


def envelope(number: int) -> bytes:
    """The envelope of an exchange."""
    exchange_id = hashlib.sha256(number.to_bytes(8, "big")).digest()[:16]
    return encode_envelope(
        Envelope(
            version=1,
            exchange_id=exchange_id,
            identity=_BRIDGE,
            key_id=b"k" * 16,
            issued_at=_NOW,
            max_units=1_000_000,
        )
    )


def receipt(of: bytes) -> Receipt:
    """A receipt of the usual size for an envelope. Its bytes and signature are the service's to verify."""
    name = hashlib.sha256(of).digest()
    return Receipt(_BRIDGE, name, _UNITS, True, b"r" * 16, name * 6, name * 2, b"d" * 150, b"s" * 64)
