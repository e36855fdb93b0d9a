"""Books on each engine. What a test uses is gone after it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from blindrelay.ledger.books import Books
from blindrelay.testbed.postgresql import programs, running_server

from .postgres_server import Server
from .trading import MEMORY, Exchange, Node, customer, sound


@pytest.fixture
def path() -> Iterator[Path]:
    """Of a SQLite file."""
    folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
    yield folder / "ledger.db"
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    found = programs()
    if found is None:
        pytest.skip("there is no PostgreSQL server here")
    with running_server(found) as folder:
        yield Server(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest) -> Path | str:
    """Where new books can be."""
    if request.param == "sqlite":
        path: Path = request.getfixturevalue("path")
        return path
    server: Server = request.getfixturevalue("postgres")
    return server.new_place()


@pytest.fixture
def books(place: Path | str) -> Iterator[Books]:
    """Empty books. Whatever a test does, they balance in the end."""
    with Books(place) as opened:
        yield opened
        sound(opened)


@pytest.fixture
def node(books: Books) -> Node:
    return Node(books)


@pytest.fixture
def exchange(books: Books, node: Node) -> Exchange:
    """One that has started."""
    started = Exchange()
    node.start(node.lease(customer(books)), started)
    return started
