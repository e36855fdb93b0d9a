"""The outbox: what waits in it, for whom, and that it survives kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from blindrelay.provider_bridge.billing import outbox as module
from blindrelay.provider_bridge.billing.outbox import Outbox
from blindrelay.serving import ConfigError
from blindrelay.trust import SignedDelegation
from blindrelay.v1.limits import MAX_WATERMARK_KEYS
from blindrelay.v1.receipts_pb2 import SignedReceipt

PEER, OTHER = b"p" * 16, b"o" * 16
REPLICA, NEXT = bytes(16), b"n" * 16
DELEGATION = SignedDelegation(b"delegation", b"signature")
DAY = 86_400


def receipt(name: str) -> SignedReceipt:
    return SignedReceipt(receipt=name.encode(), signature=b"s" * 64)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.begin_replica(REPLICA, 1_000, 1_000)
    yield outbox
    outbox.close()


def names(outbox: Outbox, peer: bytes, after: int = 0) -> list[tuple[int, str]]:
    return [(each.sequence, each.receipt.receipt.decode()) for each in outbox.waiting(peer, after, 100)]


def test_each_peer_has_its_own_receipts_and_numbers(outbox: Outbox) -> None:
    for number in range(3):
        outbox.add(PEER, REPLICA, receipt(f"p{number}"), 1, DELEGATION)
        outbox.add(OTHER, REPLICA, receipt(f"o{number}"), 1, DELEGATION)
    assert names(outbox, PEER) == [(1, "p0"), (2, "p1"), (3, "p2")]
    assert names(outbox, OTHER, after=1) == [(2, "o1"), (3, "o2")]
    outbox.acknowledge(PEER, 2)
    assert names(outbox, PEER) == [(3, "p2")]
    assert len(names(outbox, OTHER)) == 3
    assert outbox.count == 4


def test_numbers_go_on_when_everything_is_acknowledged(outbox: Outbox, tmp_path: Path) -> None:
    outbox.add(PEER, REPLICA, receipt("first"), 1, DELEGATION)
    outbox.acknowledge(PEER, 1 << 62)
    outbox.close()
    later = Outbox(tmp_path / "outbox.db")
    later.add(PEER, REPLICA, receipt("second"), 1, DELEGATION)
    assert names(later, PEER) == [(2, "second")]
    later.acknowledge(PEER, 1)
    assert len(names(later, PEER)) == 1, "an old number acknowledges nothing"
    later.close()


def test_peers_keep_their_names_in_a_later_process(outbox: Outbox, tmp_path: Path) -> None:
    blind = outbox.blind
    outbox.close()
    later = Outbox(tmp_path / "outbox.db")
    assert later.blind == blind
    assert len(blind) == 32
    later.close()
    another = Outbox(tmp_path / "another.db")
    assert another.blind != blind
    another.close()


def test_keys_of_a_replica_are_kept_newest_last(outbox: Outbox) -> None:
    keys = [bytes([number]) * 16 for number in range(MAX_WATERMARK_KEYS + 2)]
    for number in range(len(keys)):
        outbox.note_keys(REPLICA, keys[max(0, number - 1) : number + 1])
    assert outbox.replica(REPLICA, PEER).key_ids == tuple(keys[2:])


def test_ended_replica_is_known_for_eight_days(outbox: Outbox) -> None:
    outbox.add(PEER, REPLICA, receipt("old"), 7, DELEGATION)
    outbox.begin_replica(NEXT, 2_000, 2_000)
    (ended,) = outbox.ended(PEER)
    assert (ended.replica_id, ended.started_at, ended.count, ended.units) == (REPLICA, 1_000, 1, 7)
    assert (outbox.ended(OTHER)[0].count, outbox.replica(NEXT, PEER).count) == (0, 0)
    outbox.begin_replica(b"3" * 16, 2_000 + 8 * DAY, 2_000 + 8 * DAY)
    assert {each.replica_id for each in outbox.ended(PEER)} == {REPLICA, NEXT}
    outbox.begin_replica(b"4" * 16, 2_001 + 8 * DAY, 2_001 + 8 * DAY)
    assert REPLICA not in {each.replica_id for each in outbox.ended(PEER)}
    assert names(outbox, PEER) == [(1, "old")], "its receipts wait on"


def test_full_outbox_has_no_room(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CAPACITY", 2)
    for number in range(2):
        assert outbox.has_room(PEER)
        outbox.add(PEER, REPLICA, receipt(str(number)), 1, DELEGATION)
    assert not outbox.has_room(PEER)
    assert outbox.has_room(OTHER), "another peer has room of its own"
    outbox.acknowledge(PEER, 1)
    assert outbox.has_room(PEER)


def test_file_is_private(outbox: Outbox, tmp_path: Path) -> None:
    assert (tmp_path / "outbox.db").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", [b"not a database, but long enough to look like one" * 40, None])
def test_unusable_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "outbox.db"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="the outbox cannot be used"):
        Outbox(path)


def test_file_of_a_later_version_is_refused(outbox: Outbox, tmp_path: Path) -> None:
    outbox._db.execute("PRAGMA user_version = 9")
    outbox.close()
    with pytest.raises(ConfigError, match="has version 9"):
        Outbox(tmp_path / "outbox.db")


KILLED = """
    import sys
    from pathlib import Path
    from blindrelay.provider_bridge.billing.outbox import Outbox
    from blindrelay.trust import SignedDelegation
    from blindrelay.v1.receipts_pb2 import SignedReceipt

    outbox = Outbox(Path(sys.argv[1]))
    outbox.begin_replica(bytes(16), 1, 1)
    for number in range(1_000_000):
        made = SignedReceipt(receipt=str(number).encode(), signature=bytes(64))
        outbox.add(b"p" * 16, bytes(16), made, 1, SignedDelegation(b"d", b"s"))
        print(number, flush=True)
"""


def test_receipt_that_was_added_survives_kill_minus_nine(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    program = [sys.executable, "-c", textwrap.dedent(KILLED), str(path)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(200):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        said = 200 + len(process.stdout.readlines())
    outbox = Outbox(path)
    kept = [
        name for _, name in ((each.sequence, each.receipt.receipt) for each in outbox.waiting(PEER, 0, 9_999))
    ]
    assert kept[: said - 1] == [str(number).encode() for number in range(said - 1)]
    assert (outbox.count, outbox.replica(bytes(16), PEER).count) == (len(kept), len(kept))
    outbox.close()
