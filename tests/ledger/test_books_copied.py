"""Books that move: from SQLite to PostgreSQL and back, and through pg_dump while a ledger writes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from threading import Event, Thread
from time import monotonic

import pytest

from blindrelay.ledger.books import Books, InvalidError, Outcome, State
from blindrelay.ledger.books.copying import TABLES
from blindrelay.ledger.books.schema import migrations
from blindrelay.testbed.postgresql import programs
from tests.patience import PATIENCE

from .postgres_server import Server
from .trading import BY, NOW, Exchange, Node, balance, customer, post, sound, unique, watermark


def trade(books: Books) -> None:
    """Something in every table."""
    digest = customer(books, units=5_000)
    node, posted, running = Node(books), Exchange(), Exchange()
    node.start(node.lease(digest), posted, running)
    post(books, posted.receipt(70), Exchange().receipt(3))
    books.close_exchanges(watermark(NOW), NOW)
    books.add_vouchers([unique(32)], 9, by=BY, now=NOW)
    books.lease_keys(NOW)


def told(books: Books) -> tuple[object, ...]:
    """What books tell."""
    return (
        *(books.accounts(), books.tokens("ann"), books.vouchers(), books.audit(), books.evidence()),
        *(books.lines(None, "*", NOW), books.settlement(NOW), books.lease_keys(NOW), books.check()),
    )


@pytest.mark.parametrize("back", [False, True], ids=["to_postgresql", "and_back"])
def test_copied_books_tell_the_same_and_go_on(path: Path, postgres: Server, back: bool) -> None:
    with Books(path) as source, Books(postgres.new_place()) as target:
        trade(source)
        source.copy_to(target)
        if back:
            with Books(path.with_name("again.db")) as again:
                target.copy_to(again)
                goes_on(source, again)
        goes_on(source, target)


def goes_on(source: Books, copy: Books) -> None:
    assert told(copy) == told(source)
    digest = unique(32)
    copy.add_token("ann", "new", digest, by=BY, now=NOW)
    node, exchange = Node(copy), Exchange()
    node.start(node.lease(digest), exchange)
    assert post(copy, exchange.receipt(30)) == (Outcome.POSTED,)
    assert balance(copy) == 4_900
    sound(copy)


def test_books_are_copied_into_empty_ones_only(path: Path) -> None:
    with Books(path) as source, Books(path.with_name("other.db")) as target:
        trade(source)
        customer(target, "bob", units=1)
        with pytest.raises(InvalidError, match="not empty"):
            source.copy_to(target)
        assert [account.name for account in target.accounts()] == ["bob"]


def test_every_table_is_copied() -> None:
    made = [each.split()[2] for step in migrations() for each in step.statements if "CREATE TABLE" in each]
    assert sorted(TABLES) == sorted(made)


def test_a_dump_under_load_is_whole(postgres: Server, tmp_path: Path) -> None:
    found = programs()
    assert found is not None
    place, stop, started = postgres.new_place(), Event(), Event()
    with Books(place) as books:
        digest = customer(books, units=10**9)
        node = Node(books)
        lease = node.lease(digest)

        def settle() -> None:
            while not stop.is_set():
                exchange = Exchange()
                node.start(lease, exchange)
                post(books, exchange.receipt(5))
                started.set()

        writer = Thread(target=settle)
        writer.start()
        try:
            assert started.wait(PATIENCE)
            dump = tmp_path / "books.dump"
            url, schema = place.partition("&options")[0], place.rpartition("%3D")[2]
            subprocess.run([found / "pg_dump", "-Fc", "-n", schema, "-f", dump, url], check=True)
        finally:
            stop.set()
            writer.join()
    restored = postgres.new_database("restored")
    subprocess.run([found / "pg_restore", "-d", restored, dump], check=True)
    with Books(restored + place[place.index("&options") :]) as books:
        sound(books)
        lines = books.lines("ann", "*", NOW, limit=100_000)
        posted = sum(line.state is State.POSTED for line in lines)
        assert posted >= 1
        assert balance(books) == 10**9 - 5 * posted


def test_one_of_several_ledgers_is_elected_for_a_task(postgres: Server) -> None:
    place = postgres.new_place()
    with Books(place) as second:
        with Books(place) as first:
            assert first.elected("settle a")
            assert first.elected("settle a")
            assert not second.elected("settle a")
            assert second.elected("settle b")
            first.resign("settle a")
            assert second.elected("settle a")
            second.resign("settle a")
            assert first.elected("settle a")
        # The first has closed, which the server notices a moment later.
        deadline = monotonic() + PATIENCE
        while not second.elected("settle a"):
            assert monotonic() < deadline


def test_a_ledger_with_a_file_does_everything_itself(path: Path) -> None:
    with Books(path) as books:
        assert books.elected("settle a")
        books.resign("settle a")
        assert books.elected("settle a")
