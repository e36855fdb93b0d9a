"""What only a PostgreSQL database does to the books."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import psycopg
import pytest

from blindrelay.ledger.audit_log import AuditLog
from blindrelay.ledger.books import Books, BooksError, End, InvalidError, open_books, postgresql
from blindrelay.ledger.books.errors import BusyError
from blindrelay.ledger.books.postgresql_link import LOCK, end_batch, errors
from blindrelay.ledger.books.schema import migrations
from blindrelay.ledger.config import LedgerConfig
from blindrelay.ledger.server import _open_books
from blindrelay.serving import Address
from tests.patience import wait_for

from .postgres_server import Server
from .trading import BY, NOW, Exchange, Node, balance, customer, post, sound


def test_a_lost_connection_is_one_error_and_nothing_is_lost(postgres: Server) -> None:
    with Books(postgres.new_place()) as books:
        customer(books, units=5)
        for _ in range(2):
            assert balance(books) >= 5
            postgres.disconnect_all()
            with pytest.raises(BooksError, match="cannot be used"):
                books.credit("ann", 2, "lost", by=BY, now=NOW)
            books.credit("ann", 2, "lost", by=BY, now=NOW)
            with pytest.raises(BooksError):
                balance(books)
        assert balance(books) == 7
        sound(books)


@pytest.mark.parametrize("when", ["before the server", "before the ledger"])
def test_a_connection_that_breaks_anywhere_neither_loses_nor_doubles(
    postgres: Server, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Before the server has a batch, or before the ledger has its results. What failed is done again."""
    left = 0

    def broken(connection: psycopg.Connection[Any], pipeline: psycopg.Pipeline) -> None:
        nonlocal left
        left -= 1
        if left or when == "before the ledger":
            end_batch(connection, pipeline)
        if not left:
            connection.close()
            raise psycopg.OperationalError("the connection is lost")

    with Books(postgres.new_place()) as books:
        node = Node(books)
        lease = node.lease(customer(books, units=100))
        monkeypatch.setattr(postgresql, "end_batch", broken)
        interrupted = 0
        for number in range(1, 20):
            exchange, left = Exchange(max_units=1), number
            lines: list[Any] = [exchange.start(lease), End(node.sequence + 1, "ok", 1, 1)]
            node.sequence += 2
            for _ in range(2):
                with suppress(BooksError):
                    books.take_lines(node.name, node.sequence - 1, lines, NOW)
            for _ in range(2):
                with suppress(BooksError):
                    post(books, exchange.receipt(1))
            assert balance(books) == 100 - number
            interrupted += left <= 0
        sound(books)
        assert 4 < interrupted < 19, "not each place was tried"


def test_a_request_that_is_refused_leaves_the_connection_usable(postgres: Server) -> None:
    with Books(postgres.new_place()) as books:
        customer(books, units=5)
        with pytest.raises(InvalidError):
            books.credit("ann", 0, "nothing", by=BY, now=NOW)
        with pytest.raises(BooksError, match="check"), books._store.writing() as sql:
            sql.run("UPDATE account SET held = -1")
        assert balance(books) == 5


def test_an_error_does_not_tell_what_is_in_a_row(postgres: Server) -> None:
    with Books(postgres.new_place()) as books:
        customer(books, "secretive")
        with pytest.raises(BooksError) as caught, books._store.writing() as sql:
            sql.run("UPDATE account SET held = -1")
        assert "secretive" not in str(caught.value)


def test_a_database_that_cannot_be_reached_is_an_error() -> None:
    with pytest.raises(BooksError, match="cannot be used"):
        Books("postgresql:///nowhere?host=/nonexistent")


def test_a_writer_holds_the_lock_before_it_reads(postgres: Server) -> None:
    place = postgres.new_place()
    opened = psycopg.connect(place, autocommit=True)
    with Books(place) as books, opened as other, books._store.writing() as sql:
        sql.one("SELECT COUNT(*) AS accounts FROM account")
        row = other.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone()
    assert row == (False,)


def test_a_writer_reads_what_the_one_before_it_wrote(postgres: Server) -> None:
    """The database may be set to another isolation, whose view of the books is older than the lock."""
    place = postgres.new_place()
    strict = f"{place}%20-cdefault_transaction_isolation%3Dserializable"
    opened = psycopg.connect(place, autocommit=True)

    def waits() -> bool:
        row = opened.execute("SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return row.fetchone() == (1,)

    with Books(strict) as books, Books(strict) as other, opened, ThreadPoolExecutor() as threads:
        customer(books, units=5)
        with books._store.writing() as sql:
            sql.one("SELECT pg_backend_pid() AS process")
            credit = threads.submit(other.credit, "ann", 2, "later", by=BY, now=NOW)
            wait_for(waits)
            sql.run("UPDATE account SET balance = balance")
        credit.result()
        assert balance(books) == 7


@pytest.mark.parametrize("change", ["account = account + 1", "token = 'none'", "signer = signer + 1"])
def test_the_check_sees_what_foreign_keys_would_refuse(postgres: Server, change: str) -> None:
    with Books(postgres.new_place()) as books:
        node, exchange = Node(books), Exchange()
        node.start(node.lease(customer(books)), exchange)
        post(books, exchange.receipt(7))
        sound(books)
        with books._store.writing() as sql:
            sql.run(f"UPDATE exchange SET {change}")
        assert any("is not there" in problem for problem in books.check().problems)


def test_accounts_sort_as_bytes(postgres: Server) -> None:
    with Books(postgres.new_place()) as books:
        for name in ("b", "B", "a-b", "ab", "_"):
            customer(books, name)
        assert [each.name for each in books.accounts()] == ["B", "_", "a-b", "ab", "b"]


def test_what_is_taken_is_on_the_disk_before_it_is_acknowledged(postgres: Server) -> None:
    place = postgres.new_place()
    with Books(place) as books, psycopg.connect(place, autocommit=True) as other:
        customer(books, units=5)
        for _ in range(10):
            with books._store.writing() as sql:
                sql.run("UPDATE account SET expires_at = expires_at")
                written: Any = sql.one("SELECT CAST(pg_current_wal_insert_lsn() AS TEXT) AS position")
            row = other.execute("SELECT pg_current_wal_flush_lsn() > %s::pg_lsn", (written["position"],))
            assert row.fetchone() == (True,)


def test_a_writer_that_fails_gives_up_the_lock(postgres: Server) -> None:
    place = postgres.new_place()
    with Books(place) as books, psycopg.connect(place, autocommit=True) as other:
        customer(books, units=5)
        with pytest.raises(BooksError, match="check"), books._store.writing() as sql:
            sql.run("UPDATE account SET held = -1")
        row = other.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone()
        assert row == (True,)


def test_a_writer_that_hangs_loses_the_lock(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its transaction is rolled back, and the others go on."""
    monkeypatch.setattr(postgresql, "_TAKE_LOCK", postgresql._TAKE_LOCK.replace("'5000'", "'100'"))
    place = postgres.new_place()
    other = psycopg.connect(place, autocommit=True)
    other.execute("SET lock_timeout = 60000")
    locked = False

    def hang() -> None:
        nonlocal locked
        with books._store.writing() as sql:
            sql.one("UPDATE account SET expires_at = 1 RETURNING account")
            other.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
            locked = True

    with Books(place) as books, other:
        customer(books, units=5)
        with pytest.raises(BooksError, match="cannot be used"):
            hang()
        assert locked
        other.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
        row = other.execute("SELECT COUNT(*) FROM account WHERE expires_at = 1").fetchone()
        assert row == (0,)
        assert balance(books) == 5


@pytest.fixture
def older(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Books that a new release has to change, if no reader keeps it from that for a tenth of a second."""
    place = postgres.new_place()
    with monkeypatch.context() as release:
        release.setattr(open_books, "migrations", lambda engine: migrations(engine)[:2])
        with Books(place) as books:
            customer(books, units=5)
    monkeypatch.setattr(postgresql, "SCHEMA_SECONDS", 0.1)
    return place


def test_an_upgrade_waits_for_a_reader(older: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so once. Between its attempts it holds no lock, so that other ledgers go on."""
    pauses: list[float] = []
    lines: list[str] = []
    log = AuditLog(write=lines.append)
    here = Path("unused")
    config = LedgerConfig(Address("127.0.0.1", 0), here, older, Address("127.0.0.1", 0), here, ())
    with psycopg.connect(older) as reader, psycopg.connect(older, autocommit=True) as ledger:
        reader.execute("SELECT * FROM exchange")

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            assert ledger.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone() == (True,)
            ledger.execute("UPDATE exchange SET outcome = outcome")
            ledger.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
            if len(pauses) == 2:
                reader.commit()

        monkeypatch.setattr(open_books, "time", Mock(monotonic=time.monotonic, sleep=pause))
        with _open_books(config, log) as books:
            assert balance(books) == 5
    assert pauses == [open_books.PAUSE_SECONDS] * 2
    assert [json.loads(line)["event"] for line in lines] == ["books_busy"]


def test_a_reader_that_does_not_end_is_an_error_that_says_what_to_do(
    older: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_books, "UPDATE_SECONDS", 0.0)
    with psycopg.connect(older) as reader:
        reader.execute("SELECT * FROM exchange")
        with pytest.raises(BooksError, match=r"such as pg_dump .* Wait until it ends, or end it"):
            Books(older)
    with Books(older) as books:
        assert balance(books) == 5


def test_only_changes_of_the_schema_give_up_soon(postgres: Server) -> None:
    def patience(sql: Any) -> str:
        found: str = sql.one("SELECT current_setting('lock_timeout') AS patience")["patience"]
        return found

    with Books(postgres.new_place()) as books:
        with books._store.writing() as sql:
            usual = patience(sql)
            sql.define("CREATE TABLE later (id INTEGER PRIMARY KEY)")
            assert patience(sql) == f"{postgresql.SCHEMA_SECONDS:.0f}s" != usual
        with books._store.writing() as sql:
            assert patience(sql) == usual


@pytest.mark.parametrize("error", [psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected])
def test_a_lock_that_others_do_not_give_up_is_an_error_of_its_own(error: type[psycopg.Error]) -> None:
    with pytest.raises(BusyError), errors():
        raise error("somebody reads")
