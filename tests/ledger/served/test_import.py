"""`import`: the books move from a file to a database, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.ledger.postgres_server import Server
from tests.ledger.served.fake_bridge import FakeBridge
from tests.ledger.served.processes import ledger_process, run, write_config
from tests.ledger.served.test_shared_books import shared


@pytest.fixture
async def old(bridge: FakeBridge, tmp_path: Path) -> Path:
    """The configuration of a ledger with a file, and one customer."""
    (tmp_path / "old").mkdir()
    file = write_config(tmp_path / "old", bridge.config)
    (file.parent / "relay-tokens").touch(0o600)
    await run("account", "add", "ann", config=file)
    await run("credit", "ann", "5000", "--reference", "order 1", config=file)
    return file


async def test_books_move_to_a_database(
    old: Path, postgres: Server, bridge: FakeBridge, tmp_path: Path
) -> None:
    new, source = shared(tmp_path / "new", postgres.new_place(), bridge), str(old.with_name("ledger.db"))
    said = (await run("import", "--from", source, config=new)).fields
    assert (said["balanced"], said["copied"]["account"], said["copied"]["credit"]) == (True, 1, 1)
    assert (await run("account", "show", "ann", config=new)).fields["balance"] == 5_000
    again = await run("import", "--from", source, "--config", str(new))
    assert (again.code, again.out) == (2, "")
    assert "not empty" in again.err
    assert (await run("account", "show", "ann", config=new)).fields["balance"] == 5_000


async def test_people_read_what_was_copied(old: Path, bridge: FakeBridge, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    new = write_config(tmp_path / "new", bridge.config)
    done = await run("import", "--from", str(old.with_name("ledger.db")), "--config", str(new))
    assert done.code == 0, done.err
    assert "copied 1 of account\n" in done.out
    assert done.out.endswith("balanced: True\n")


async def test_what_cannot_be_imported_is_named(old: Path, bridge: FakeBridge, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    new, books = write_config(tmp_path / "new", bridge.config), old.with_name("ledger.db")
    text = tmp_path / "text"
    text.write_text("not books, " * 1_000)
    cases = [(tmp_path / "none", "no such file"), (text, "cannot be used")]
    async with ledger_process(old):
        for source, words in (*cases, (books, "another ledger serves")):
            done = await run("import", "--from", str(source), config=new)
            assert done.code != 0
            assert words in done.err
            assert done.err.count("\n") == 1
    same = await run("import", "--from", str(books), config=old)
    assert "give it new ones" in same.err
    assert json.loads((await run("account", "list", config=old)).out)["accounts"]
