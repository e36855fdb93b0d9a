"""The file under the books: who may use it, and how."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from blindrelay.ledger.books import Books, BooksError, Lease, Limits, Outcome, UnknownError
from blindrelay.ledger.books.schema import Migration, migrate, migrations
from blindrelay.ledger.books.store import SqliteStore, file_system

from .trading import BY, NOW, Exchange, Node, balance, customer, post, sound

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /srv/my\\040files rw shared:2 - nfs4 server:/x rw
31 22 0:41 / /srv rw - tmpfs tmpfs rw
"""
WORKERS = 4
EACH = 25


def test_the_file_is_this_users_alone(path: Path) -> None:
    with Books(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for beside in path.parent.iterdir():
            assert stat.S_IMODE(beside.stat().st_mode) & 0o077 == 0


def test_books_stay_when_they_are_opened_again(place: Path | str) -> None:
    with Books(place) as books:
        customer(books, units=5)
        keys = books.lease_keys(NOW)
    with Books(place) as books:
        assert balance(books) == 5
        assert books.lease_keys(NOW + 1) == keys


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(BooksError, match=r"nowhere/ledger\.db"):
        Books(tmp_path / "nowhere" / "ledger.db")


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_text("my diary " * 100)
    with pytest.raises(BooksError, match="cannot be used"):
        Books(path)
    assert path.read_text() == "my diary " * 100


def test_closed_books_cannot_be_used(place: Path | str) -> None:
    books = Books(place)
    books.close()
    with pytest.raises(BooksError):
        books.accounts()


def test_books_cannot_be_used_after_a_fork(path: Path) -> None:
    script = """
import os, pathlib, sys
from blindrelay.ledger.books import Books, BooksError
books = Books(pathlib.Path(sys.argv[1]))
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
try:
    books.accounts()
except BooksError as error:
    os._exit(0 if "before a fork" in str(error) else 2)
os._exit(1)
"""
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 0


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("/", "ext4"), ("/srv", "tmpfs"), ("/srv/my files/books", "nfs4"), ("/home/x", "ext4")],
)
def test_the_file_system_of_a_folder_is_found(tmp_path: Path, folder: str, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert file_system(Path(folder), mounts) == kind
    assert file_system(Path(folder), tmp_path / "missing") == ""


def test_a_network_file_system_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blindrelay.ledger.books.store.file_system", lambda folder, mounts: "nfs4")
    with pytest.raises(BooksError, match=r"network file system \(nfs4\)"):
        Books(path)
    assert not path.exists()


def test_nothing_remains_of_a_transaction_that_raises(path: Path) -> None:
    with Books(path) as books:
        customer(books, units=5)
    store = SqliteStore(path)

    def fail() -> None:
        with store.writing() as sql:
            sql.run("UPDATE account SET balance = 99")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with store.reading() as sql:
        assert sql.all("SELECT balance FROM account")[0]["balance"] == 5
    store.close()


def test_the_schema_refuses_what_breaks_the_bound(place: Path | str) -> None:
    with Books(place) as books:
        customer(books, units=5)
        for change in ("balance = -100000001", "held = 100000006", "held = -1", "bound = 0"):
            with pytest.raises(BooksError, match=r"(?i)check"), books._store.writing() as sql:
                sql.run(f"UPDATE account SET {change}")


def test_books_of_a_newer_release_are_used_if_they_allow_it(path: Path) -> None:
    known = migrations()
    newest = known[-1].version
    store = SqliteStore(path)
    with store.writing() as sql:
        migrate(sql, (*known, Migration(newest + 1, newest, ("CREATE TABLE later (x INTEGER)",))))
    with Books(path) as books:
        customer(books)
    with store.writing() as sql:
        migrate(sql, (*known, Migration(newest + 2, newest + 2, ("DROP TABLE later",))))
    with pytest.raises(BooksError, match=f"version {newest + 2}, and this program knows {newest}"):
        Books(path)
    store.close()


def test_migrations_are_applied_once(path: Path) -> None:
    store = SqliteStore(path)
    step = Migration(1, 1, ("CREATE TABLE once (x INTEGER)", "INSERT INTO once (x) VALUES (1)"))
    for _ in range(2):
        with store.writing() as sql:
            migrate(sql, (step,))
    with store.reading() as sql:
        assert len(sql.all("SELECT x FROM once")) == 1
    store.close()


def _trade(place: Path | str, digest: bytes, salt: int) -> list[Outcome]:
    """Starts and settles exchanges of 10 units each, and tries to redeem the one voucher."""
    outcomes: list[Outcome] = []
    with Books(place) as books:
        node = Node(books, bytes([salt]) * 16)
        for number in range(EACH):
            exchange = Exchange(exchange_id=bytes([salt, number]) * 8)
            node.start(node.lease(digest), exchange)
            outcomes += post(books, exchange.receipt(10), exchange.receipt(10))
        try:
            books.redeem_voucher("ann", b"V" * 32, by=BY, now=NOW)
        except UnknownError:
            outcomes.append(Outcome.CONTRADICTION)
    return outcomes


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_many_writers_charge_each_exchange_once(place: Path | str, kind: str) -> None:
    with Books(place) as books:
        digest = customer(books, units=10**9)
        books.add_vouchers([b"V" * 32], 77, by=BY, now=NOW)
    jobs = [(place, digest, salt) for salt in range(WORKERS)]
    if kind == "threads":
        with ThreadPoolExecutor(WORKERS) as threads:
            done = list(threads.map(_trade, *zip(*jobs, strict=True)))
    else:
        with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
            done = pool.starmap(_trade, jobs)
    outcomes = [outcome for each in done for outcome in each]
    assert outcomes.count(Outcome.POSTED) == outcomes.count(Outcome.REPEATED) == WORKERS * EACH
    assert outcomes.count(Outcome.CONTRADICTION) == WORKERS - 1
    with Books(place) as books:
        assert balance(books) == 10**9 - WORKERS * EACH * 10 + 77
        sound(books)


def test_many_threads_may_share_books(books: Books) -> None:
    digest = customer(books, units=5_000, limits=Limits(max_units=1000, overdraft=0))

    def trade(number: int) -> Outcome:
        node, exchange = Node(books), Exchange(1000, exchange_id=os.urandom(16))
        found = books.lease(digest, node.name, NOW)
        if isinstance(found, Lease):
            node.start(found, exchange)
        return post(books, exchange.receipt(1000))[0]

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(trade, range(50)))
    books.tidy(NOW)
    assert balance(books) == 0
    assert len(outcomes) == 50


def test_a_writer_holds_the_lock_before_it_reads(path: Path) -> None:
    store = SqliteStore(path)
    locked = pytest.raises(sqlite3.OperationalError, match="locked")
    with closing(sqlite3.connect(path, timeout=0)) as other, store.writing(), locked:
        other.execute("BEGIN IMMEDIATE")
    store.close()


def test_reading_does_not_wait_for_a_writer(books: Books) -> None:
    customer(books, units=5)
    with books._store.writing() as sql:
        sql.run("UPDATE account SET balance = 6")
        assert balance(books) == 5
        sql.run("UPDATE account SET balance = 5")
