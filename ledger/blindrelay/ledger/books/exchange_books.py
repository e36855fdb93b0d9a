"""The part of the books that relays and bridges write: leases, lines, receipts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from blindrelay.ledger.books.allowances import (
    accounts_at,
    nodes,
    pseudonyms,
    refresh_each,
    release_node,
    revive,
)
from blindrelay.ledger.books.closing import close_exchanges
from blindrelay.ledger.books.exchange_rows import (
    Allowance,
    End,
    Lease,
    Limit,
    LinesTaken,
    Posted,
    Receipt,
    SignedTable,
    Start,
    Watermark,
)
from blindrelay.ledger.books.leases import lease_keys, revoked_leases, take_lease
from blindrelay.ledger.books.limits import reset_quotas
from blindrelay.ledger.books.lines import acknowledged, take_lines
from blindrelay.ledger.books.open_books import OpenBooks
from blindrelay.ledger.books.periods import day_start
from blindrelay.ledger.books.presence import hear, lost_nodes
from blindrelay.ledger.books.read_lines import Lines
from blindrelay.ledger.books.reports import add_price_table, price_table
from blindrelay.ledger.books.settlement import post
from blindrelay.ledger.books.store import Statements
from blindrelay.ledger.books.tidying import tidy


class ExchangeBooks(OpenBooks):
    """Leases, allowances, exchanges and what settles them."""

    _quotas_of: int | None = None
    """The day for which this object has reset quotas."""

    @contextmanager
    def _writing(self, now: int) -> Iterator[Statements]:
        """One transaction, with the quotas of the day. Other ledgers' clocks are tidy()'s to deal with."""
        today = day_start(now)
        with self._store.writing() as sql:
            if today != self._quotas_of:
                reset_quotas(sql, now)
            yield sql
        self._quotas_of = today

    def lease_keys(self, now: int) -> tuple[bytes, ...]:
        """The keys that sign leases, newest first, at most two, 32 bytes each. Draws one each day."""
        with self._store.writing() as sql:
            return lease_keys(sql, self._random, now)

    def lease(self, digest: bytes, node: bytes, now: int) -> Lease | Limit:
        """A lease at a node (16 bytes) for the token with that SHA-256, or why there is none."""
        with self._writing(now) as sql:
            return take_lease(sql, digest, node, self._new_id(), acknowledged(sql, node), now)

    def revoked_leases(self, now: int) -> tuple[str, ...]:
        """The ids of unexpired leases that are revoked."""
        with self._store.reading() as sql:
            return revoked_leases(sql, now)

    def acknowledged(self, node: bytes) -> int:
        """The number of the node's last line in the books, or 0."""
        with self._store.reading() as sql:
            return acknowledged(sql, node)

    def take_lines(
        self, node: bytes, first_sequence: int, lines: Sequence[Start | End], now: int
    ) -> LinesTaken:
        """A node's lines, in order; repeated ones change nothing. Returns the allowances that they change."""
        read = Lines(node, first_sequence, lines, now)
        with self._writing(now) as sql:
            return take_lines(sql, read)

    def allowances(
        self, node: bytes, now: int, accounts: Collection[str] | None = None
    ) -> tuple[Allowance, ...]:
        """A node's allowances, refreshed: of these accounts (pseudonyms), or of all that have a lease there.

        Ask for all when a node reports again after release_node. An account without a lease at the node is
        left out.
        """
        with self._writing(now) as sql:
            sequence = acknowledged(sql, node)
            if accounts is None:
                revive(sql, node, now)
            numbers = accounts_at(sql, node, accounts)
            return refresh_each(sql, numbers, node, sequence, now)

    def hear(self, nodes: Collection[bytes], now: int) -> None:
        """Notes that this ledger has a stream with each of these nodes."""
        with self._store.writing() as sql:
            hear(sql, nodes, now)

    def lost_nodes(self, before: int) -> tuple[bytes, ...]:
        """The nodes that hold allowances, and that no ledger has heard after that time (Unix seconds)."""
        with self._store.reading() as sql:
            return lost_nodes(sql, before)

    def nodes(self) -> tuple[bytes, ...]:
        """The nodes that hold allowances."""
        with self._store.reading() as sql:
            return nodes(sql)

    def release_node(self, node: bytes) -> frozenset[str]:
        """Takes back a node's allowances, for one that no longer reports. It may come back.

        Returns the accounts (pseudonyms) whose other nodes may now have more.
        """
        with self._store.writing() as sql:
            return pseudonyms(sql, release_node(sql, node))

    def post(self, receipts: Sequence[Receipt], now: int) -> Posted:
        """Settles exchanges by their receipts. When it returns, all of them may be acknowledged."""
        with self._writing(now) as sql:
            return post(sql, receipts, now)

    def close_exchanges(self, watermark: Watermark, now: int) -> frozenset[str]:
        """Voids what the watermark closes; call it after the receipts that came before it are posted.

        Returns the accounts (pseudonyms) whose allowances may have changed.
        """
        with self._store.writing() as sql:
            return close_exchanges(sql, watermark)

    def tidy(self, now: int) -> frozenset[str]:
        """What time brings: exchanges lapse, leases and allowances end, waiting receipts are posted.

        Call it every few seconds. Returns the accounts (pseudonyms) whose allowances may have changed.
        """
        with self._store.writing() as sql:
            return tidy(sql, now)

    def add_price_table(self, table_hash: bytes, table: SignedTable, now: int) -> None:
        """Keeps a price table under the SHA-256 of its bytes."""
        with self._store.writing() as sql:
            add_price_table(sql, table_hash, table, now)

    def price_table(self, table_hash: bytes) -> SignedTable | None:
        """The price table with that SHA-256."""
        with self._store.reading() as sql:
            return price_table(sql, table_hash)
