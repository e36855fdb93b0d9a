"""The file of bills: what is kept, by several processes, through crashes, and never too much of it."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from blindrelay.client import ConnectionConfig, bill_journal
from blindrelay.client.bill_journal import (
    BillJournal,
    KeptExchange,
    KeptReceipt,
    journal_file,
    key_name,
    open_journal,
    read_journal,
)
from blindrelay.testbed.billing_bridge import BillingBridge
from tests.patience import PATIENCE

from .conftest import RELAY

BRIDGE = BillingBridge()
ENVELOPES = [BRIDGE.envelope(number) for number in range(400)]
PRICES = BRIDGE.table_hash
RECEIPT = BRIDGE.receipt(ENVELOPES[0])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "bills" / "journal"


@pytest.fixture
def journal(path: Path) -> BillJournal:
    return BillJournal(path, "relay.example:443", "brt_secret")


def name(envelope: bytes) -> bytes:
    return hashlib.sha256(envelope).digest()


def test_what_is_kept_is_read(path: Path, journal: BillJournal) -> None:
    for envelope in ENVELOPES[:3]:
        journal.began(envelope, PRICES)
    journal.ended(name(ENVELOPES[0]), RECEIPT)
    journal.refused(name(ENVELOPES[1]), "limit_units")
    key = key_name("brt_secret")
    assert list(read_journal(path).values()) == [
        KeptExchange(ENVELOPES[0], "relay.example:443", key, PRICES, receipts=[RECEIPT]),
        KeptExchange(ENVELOPES[1], "relay.example:443", key, PRICES, refusal="limit_units"),
        KeptExchange(ENVELOPES[2], "relay.example:443", key, PRICES),
    ]


def test_the_token_is_not_kept(path: Path, journal: BillJournal) -> None:
    journal.began(ENVELOPES[0], PRICES)
    assert b"brt_secret" not in path.read_bytes()


def test_the_same_receipt_is_kept_once(path: Path, journal: BillJournal) -> None:
    journal.began(ENVELOPES[0], PRICES)
    for receipt in (RECEIPT, RECEIPT, BRIDGE.receipt(ENVELOPES[0], units=50)):
        journal.ended(name(ENVELOPES[0]), receipt)
    (exchange,) = read_journal(path).values()
    assert len(exchange.receipts) == 2


def test_file_and_folder_are_private(path: Path, journal: BillJournal) -> None:
    journal.began(ENVELOPES[0], PRICES)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_link_is_not_followed(path: Path, journal: BillJournal, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir(parents=True)
    target = path.with_name("target")
    path.symlink_to(target)
    journal.began(ENVELOPES[0], PRICES)
    assert not target.exists()
    assert "bills cannot be kept" in caplog.text


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_record_that_a_crash_cut_is_passed_over(path: Path, journal: BillJournal, cut: int) -> None:
    journal.began(ENVELOPES[0], PRICES)
    journal.began(ENVELOPES[1], PRICES)
    os.truncate(path, path.stat().st_size - cut)
    journal.began(ENVELOPES[2], PRICES)
    kept = [each.envelope for each in read_journal(path).values()]
    assert kept == [ENVELOPES[0], *([ENVELOPES[1]] if cut == 1 else []), ENVELOPES[2]]


def test_records_of_another_version_are_passed_over(path: Path, journal: BillJournal) -> None:
    journal.began(ENVELOPES[0], PRICES)
    with path.open("ab") as file:
        for record in (
            b"[]",
            b"7",
            b'{"new":1}',
            b'{"exchange":"?","refused":"x"}',
            b'{"envelope":7}',
            b"\xff",
        ):
            file.write(b"\x1e" + record + b"\n")
    journal.began(ENVELOPES[1], PRICES)
    assert [each.envelope for each in read_journal(path).values()] == ENVELOPES[:2]


def test_the_file_is_bounded(path: Path, journal: BillJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bill_journal, "MAX_FILE_SIZE", 4_000)
    for envelope in ENVELOPES:
        journal.began(envelope, PRICES)
    kept = [each.envelope for each in read_journal(path).values()]
    assert kept == ENVELOPES[-len(kept) :]
    sizes = [each.stat().st_size for each in path.parent.iterdir()]
    assert 4_000 <= sum(sizes) <= 2 * 4_400


def test_a_file_that_another_process_has_turned_over_stays(
    path: Path, journal: BillJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def after_the_other_process(_: Path) -> Iterator[None]:
        path.replace(path.with_name("journal.old"))
        BillJournal(path, "relay.example:443").began(ENVELOPES[2], PRICES)
        yield

    journal.began(ENVELOPES[0], PRICES)
    monkeypatch.setattr(bill_journal, "MAX_FILE_SIZE", path.stat().st_size)
    monkeypatch.setattr(bill_journal, "locked", after_the_other_process)
    journal.began(ENVELOPES[1], PRICES)
    assert [each.envelope for each in read_journal(path).values()] == ENVELOPES[:3]


def test_processes_share_the_file(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from blindrelay.client import bill_journal as j, state_file;"
        "from blindrelay.testbed.billing_bridge import BillingBridge as B; n = int(sys.argv[2]);"
        "state_file.LOCK_SECONDS = 60.0; j.MAX_FILE_SIZE = 20_000;"
        "journal = j.BillJournal(Path(sys.argv[1]), 'r:1');"
        "[journal.began(B().envelope(n * 100 + each), bytes(32)) for each in range(40)]"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), str(number)]) for number in range(3)]
    assert [each.wait(PATIENCE) for each in writers] == [0, 0, 0]
    kept = read_journal(path)
    assert 60 <= len(kept) <= 120, "at least what fits into one file, and none of it damaged"


def test_a_killed_process_loses_nothing_that_it_wrote(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from blindrelay.client.bill_journal import BillJournal;"
        "from blindrelay.testbed.billing_bridge import BillingBridge;"
        "journal = BillJournal(Path(sys.argv[1]), 'r:1');\n"
        "for number in range(10**6):\n"
        "    journal.began(BillingBridge().envelope(number), bytes(32)); print(number, flush=True)"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    with writer.stdout:
        for _ in range(20):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        last = max([last, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    writer.wait(PATIENCE)
    assert len(read_journal(path)) >= last + 1


def test_a_disk_that_fails_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    journal = BillJournal(blocked / "bills" / "journal", "relay.example:443")
    with caplog.at_level(logging.WARNING):
        journal.began(ENVELOPES[0], PRICES)
        journal.began(ENVELOPES[1], PRICES)
    assert caplog.text.count("bills cannot be kept") == 1


def test_no_file_is_no_exchange(path: Path) -> None:
    assert read_journal(path) == {}


def test_option_and_folder(state: Path) -> None:
    assert journal_file() == state / "bills" / "journal"
    assert open_journal(ConnectionConfig.from_string(f"{RELAY}&bills=off")) is None
    kept = open_journal(ConnectionConfig.from_string(f"{RELAY}&history=off"))
    assert kept is not None
    kept.began(ENVELOPES[0], PRICES)
    assert len(read_journal(state / "bills" / "journal")) == 1


def test_kept_receipts_need_no_statement(path: Path, journal: BillJournal) -> None:
    journal.began(ENVELOPES[0], PRICES)
    bare = KeptReceipt(RECEIPT.signed)
    journal.ended(name(ENVELOPES[0]), bare)
    assert next(iter(read_journal(path).values())).receipts == [bare]
