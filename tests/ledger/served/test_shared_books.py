"""Several ledgers on one database: a relay reports to one of them, and what another does reaches it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from blindrelay.ledger.books import Books
from blindrelay.ledger.config import read_ledger_config
from blindrelay.ledger.doctor import check_books
from blindrelay.serving import Address, ConfigError
from blindrelay.serving.doctor import CheckFailedError
from blindrelay.testbed.ports import free_port
from tests.ledger.postgres_server import Server
from tests.ledger.served.conftest import StartLedger
from tests.ledger.served.fake_bridge import FakeBridge
from tests.ledger.served.processes import ledger_process, run, write_config
from tests.ledger.served.test_config import WHOLE, written
from tests.patience import PATIENCE, until

PASSWORD = "postgresql://ledger:hunter2@db.example/ledger"


async def test_what_one_ledger_does_reaches_the_relays_of_another(
    postgres: Server, start_ledger: StartLedger, bridge: FakeBridge, tmp_path: Path
) -> None:
    place = postgres.new_place()
    one = await start_ledger(books=place)
    other = await start_ledger(
        books=place, admin=Address("127.0.0.1", free_port()), admin_token=tmp_path / "other-token"
    )
    token = await one.account(units=1_000)
    await one.limit(overdraft=0, max_units=1_000)
    async with one.node() as node, other.node() as neighbour:
        await node.connect()
        await neighbour.connect()
        lease = await node.good_lease(token)
        assert node.allowances[lease.account].exchanges == 1
        assert (await neighbour.lease(token)).allowance.exchanges == 0
        envelope = bridge.envelope(max_units=1_000)
        await node.start(lease, envelope)
        await other.credit(3_000, reference="order 2")
        await node.until(lambda: node.allowances[lease.account].exchanges >= 1)
        await neighbour.until(lambda: neighbour.allowances[lease.account].exchanges >= 1)
        await bridge.settle(envelope, 500)
        assert (await one.standing()).balance == (await other.standing()).balance == 3_500
        (known,) = (await other.admin_account()).tokens
        await other.revoke(known.id)
        await node.until(lambda: lease.lease_id in node.revoked)


async def test_one_ledger_collects_and_another_takes_over_when_it_dies(
    postgres: Server, bridge: FakeBridge, tmp_path: Path
) -> None:
    place = postgres.new_place()
    files = [shared(tmp_path / name, place, bridge) for name in ("one", "other")]
    async with ledger_process(files[0]) as one:
        await bridge.settle(bridge.envelope(), 1)
        async with ledger_process(files[1]):
            assert "another ledger" in await problem(files[1])
            await bridge.settle(bridge.envelope(), 2)
            assert bridge.streams == 1
            await one.kill()
            await bridge.settle(bridge.envelope(), 3)
            assert bridge.streams == 2
            assert not await problem(files[1])


def shared(folder: Path, place: str, bridge: FakeBridge) -> Path:
    """The ledger.toml of one of several ledgers."""
    folder.mkdir()
    (folder / "url").write_text(place)
    (folder / "url").chmod(0o600)
    (folder / "relay-tokens").touch(0o600)
    file = write_config(folder, bridge.config)
    file.write_text(file.read_text().replace('books = "ledger.db"', 'books_url = "url"'))
    return file


async def problem(file: Path) -> str:
    """What a ledger says of its bridge, once that is connected."""
    async with asyncio.timeout(PATIENCE):
        while True:
            (shown,) = (await run("settlement", config=file)).fields["bridges"]
            if shown["connected"]:
                return shown["problem"] or ""


async def test_a_ledger_that_is_not_elected_any_more_stops_collecting(
    start_ledger: StartLedger, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after it has lost its connection to the database."""
    monkeypatch.setattr("blindrelay.ledger.settlement.ELECTION_SECONDS", 0)
    elected = True
    monkeypatch.setattr(Books, "elected", lambda *_: elected)
    ledger = await start_ledger()
    await bridge.settle(bridge.envelope(), 1)
    elected = False
    number = await bridge.put(receipt=bridge.receipt(bridge.envelope(), 2))
    await bridge.until(lambda: bridge.open_streams == 0)
    assert bridge.acknowledged == number - 1
    await until(lambda: "bridge_elsewhere" in ledger.log.said())
    elected = True
    await bridge.until(lambda: bridge.acknowledged == number)


async def test_a_ledger_that_cannot_reach_a_bridge_leaves_it_to_another(
    start_ledger: StartLedger, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    resigned = asyncio.Event()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(Books, "resign", lambda *_: loop.call_soon_threadsafe(resigned.set))
    away = replace(bridge.config, address=Address("127.0.0.1", free_port()))
    await start_ledger(bridges=(away,))
    await asyncio.wait_for(resigned.wait(), PATIENCE)


def test_the_url_of_a_database_is_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(PASSWORD)
    (tmp_path / "url").chmod(0o600)
    config = read_ledger_config(written(tmp_path, WHOLE.replace('books = "ledger.db"', 'books_url = "url"')))
    assert config.books == PASSWORD
    assert "hunter2" not in repr(config)
    assert config.admin_token == tmp_path / "admin-token"


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (PASSWORD, 'books = "ledger.db"\nbooks_url = "url"', "contradicts books"),
        ("hunter2", 'books_url = "url"', "does not begin with postgresql://"),
    ],
)
def test_a_wrong_place_is_named(tmp_path: Path, content: str, line: str, words: str) -> None:
    (tmp_path / "url").write_text(content)
    (tmp_path / "url").chmod(0o600)
    with pytest.raises(ConfigError, match=words) as error:
        read_ledger_config(written(tmp_path, WHOLE.replace('books = "ledger.db"', line)))
    assert "hunter2" not in str(error.value)


def test_doctor_says_that_the_database_is_away() -> None:
    with pytest.raises(CheckFailedError) as failure:
        check_books(f"postgresql://ledger:hunter2@127.0.0.1:{free_port()}/ledger")
    assert "hunter2" not in str(failure.value)
