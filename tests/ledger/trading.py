"""One customer's relay and bridge as the books see them: leases, lines and receipts in one call each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from blindrelay.ledger.books import (
    Allowance,
    Books,
    End,
    Lease,
    Limit,
    Limits,
    LinesTaken,
    Outcome,
    Receipt,
    Start,
    State,
    Watermark,
)
from blindrelay.v1.envelope import encode_envelope
from blindrelay.v1.envelope_pb2 import Envelope

MEMORY = Path("/dev/shm")
"""Where there is one, tests do not wait for a disk."""
NOW = 1_780_272_000
"""2026-06-01T00:00:00Z"""
BRIDGE = b"B" * 32
REPLICA = b"R" * 16
KEY = b"K" * 16
BY = "test"

_SERIAL = count(1)


def unique(size: int) -> bytes:
    """Bytes that nothing else in this process has."""
    return next(_SERIAL).to_bytes(size, "big")


def customer(
    books: Books, name: str = "ann", units: int = 10_000_000, limits: Limits | None = None, now: int = NOW
) -> bytes:
    """A new account with units and a token; the token's digest."""
    books.add_account(name, limits or Limits(), by=BY, now=now)
    if units:
        books.credit(name, units, "opening", by=BY, now=now)
    digest = unique(32)
    books.add_token(name, "", digest, by=BY, now=now)
    return digest


@dataclass
class Node:
    """A relay's process: it numbers its lines, and knows what it may start."""

    books: Books
    name: bytes = field(default_factory=lambda: unique(16))
    sequence: int = 0

    def lease(self, digest: bytes, now: int = NOW) -> Lease:
        found = self.books.lease(digest, self.name, now)
        assert isinstance(found, Lease), found
        return found

    def refused(self, digest: bytes, now: int = NOW) -> Limit:
        found = self.books.lease(digest, self.name, now)
        assert isinstance(found, Limit), found
        return found

    def report(self, *lines: Start | End, now: int = NOW) -> LinesTaken:
        first, self.sequence = self.sequence + 1, self.sequence + len(lines)
        return self.books.take_lines(self.name, first, lines, now)

    def start(self, lease: Lease, *exchanges: Exchange, now: int = NOW) -> LinesTaken:
        """Reports the exchanges' starts, and notes their numbers."""
        for number, exchange in enumerate(exchanges, self.sequence + 1):
            exchange.sequence = number
        return self.report(*(exchange.start(lease) for exchange in exchanges), now=now)

    def allowance(self, now: int = NOW) -> Allowance:
        """The only account's."""
        (found,) = self.books.allowances(self.name, now)
        return found


@dataclass
class Exchange:
    """One exchange, and the receipt that its bridge gives."""

    max_units: int = 1_000_000
    issued_at: int = NOW
    key_id: bytes = KEY
    deadline: int = 600
    exchange_id: bytes = field(default_factory=lambda: unique(16))
    sequence: int = 0

    @property
    def envelope(self) -> bytes:
        return encode_envelope(
            Envelope(
                version=1,
                exchange_id=self.exchange_id,
                identity=BRIDGE,
                key_id=self.key_id,
                issued_at=self.issued_at,
                max_units=self.max_units,
            )
        )

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(self.envelope).digest()

    def start(self, lease: Lease) -> Start:
        return Start(lease.id, self.envelope, self.deadline)

    def end(self, outcome: str = "ok", sent: int = 100, received: int = 200) -> End:
        return End(self.sequence, outcome, sent, received)

    def receipt(
        self,
        units: int,
        *,
        started: bool = True,
        identity: bytes = BRIDGE,
        replica: bytes = REPLICA,
        salt: str = "",
    ) -> Receipt:
        text = f"{self.hash.hex()} {units} {started} {identity.hex()} {replica.hex()} {salt}"
        return Receipt(
            identity, self.hash, units, started, replica, text.encode(), b"S" * 64, b"delegation", b"D" * 64
        )


def watermark(
    closed_before: int, *, still_open: Sequence[Exchange] = (), key: bytes = KEY, ended: bool = False
) -> Watermark:
    """What the one replica says."""
    open_ = tuple(exchange.hash for exchange in still_open)
    return Watermark(BRIDGE, REPLICA, NOW - 60, closed_before, (key,), open_, 0, 0, ended)


def post(books: Books, *receipts: Receipt, now: int = NOW) -> tuple[Outcome, ...]:
    """What becomes of the receipts."""
    return books.post(receipts, now).outcomes


def balance(books: Books, name: str = "ann") -> int:
    return books.account(name).balance


def sound(books: Books) -> None:
    """Everything adds up, and no balance is below its bound."""
    assert books.check().problems == ()
    for account in books.accounts(limit=1000):
        assert account.balance >= -account.overdraft_bound


def only_line(books: Books) -> tuple[State, int]:
    """The state and units of the only exchange."""
    (found,) = books.lines("ann", "*", NOW)
    return found.state, found.units
