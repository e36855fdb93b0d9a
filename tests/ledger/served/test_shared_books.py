"""Several ledgers on one database: a relay reports to one of them, and what another does reaches it."""

from __future__ import annotations

from pathlib import Path

import pytest

from blindrelay.ledger.config import read_ledger_config
from blindrelay.ledger.doctor import check_books
from blindrelay.serving import Address, ConfigError
from blindrelay.serving.doctor import CheckFailedError
from tests.ledger.postgres_server import Server
from tests.ledger.served.conftest import StartLedger, free_port
from tests.ledger.served.fake_bridge import FakeBridge
from tests.ledger.served.test_config import WHOLE, written

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
