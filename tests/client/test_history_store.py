"""The history file: written atomically, private, and shared between processes."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from blindrelay.client import ConfigurationError, ConnectionConfig, state_file
from blindrelay.client.history_store import HistoryStore, default_history_file, open_history
from blindrelay.trust import format_identity
from tests.patience import PATIENCE

from ..trust.replicas import IDENTITY, NOW, STRANGER, Replica
from .conftest import INJECTED

TEXT = format_identity(IDENTITY.public_key)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history" / TEXT


def store_at(path: Path | None) -> HistoryStore:
    return HistoryStore(IDENTITY.public_key, path, private_folder=True)


def learn(store: HistoryStore, replica: Replica) -> None:
    with store.transaction() as history:
        history.admit(replica.signed(), NOW)


def count(store: HistoryStore) -> int:
    return len(store.history.directories.shown)


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"BLINDRELAY_STATE": "/a", "XDG_STATE_HOME": "/b"}, "/a/history"),
        ({"XDG_STATE_HOME": "/b"}, "/b/blindrelay/history"),
        ({}, str(Path.home() / ".local/state/blindrelay/history")),
    ],
)
def test_default_history_file(environ: dict[str, str], folder: str) -> None:
    assert default_history_file(IDENTITY.public_key, environ) == Path(folder) / TEXT


def test_history_option_sets_the_file(tmp_path: Path) -> None:
    default, chosen = default_history_file(IDENTITY.public_key), tmp_path / "keys"
    options = {"": default, "&history=on": default, "&history=off": None, f"&history={chosen}": chosen}
    for option, path in options.items():
        connection = ConnectionConfig.from_string(f"blindrelay://relay.example?bridge={TEXT}{option}")
        assert open_history(connection).path == path


def test_without_a_home_the_history_stays_in_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.delenv("BLINDRELAY_STATE")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    store = open_history(INJECTED)
    assert store.path is None
    assert "no home directory" in caplog.text


def test_file_and_folder_are_private(path: Path) -> None:
    before = os.umask(0)
    try:
        learn(store_at(path), Replica())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {each.name for each in path.parent.iterdir()} == {TEXT, TEXT + ".lock"}
    assert count(store_at(path)) == 1


def link(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def replace_folder(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_text("")


def give_away(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give a file away")
    os.chown(path, 65_534, -1)


CANNOT_BE_USED = f"{TEXT} cannot be used: .* move it away"


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: path.chmod(0o640), f"{TEXT} is open to others: chmod go-rwx"),
        (lambda path: path.chmod(0o604), f"{TEXT} is open to others: chmod go-rwx"),
        (lambda path: path.chmod(0o620), f"{TEXT} is open to others: chmod go-rwx"),
        (lambda path: path.chmod(0o602), f"{TEXT} is open to others: chmod go-rwx"),
        (lambda path: path.parent.chmod(0o755), "history is open to others: chmod go-rwx"),
        (give_away, "belongs to another user"),
        (lambda path: give_away(path.parent), "belongs to another user"),
        (link, "is a link"),
        (replace_folder, "not a file in a folder"),
        (lambda path: path.write_bytes(b""), CANNOT_BE_USED),
        (lambda path: path.write_bytes(b"{"), CANNOT_BE_USED),
        (lambda path: path.write_bytes(b"\xff\xfe"), CANNOT_BE_USED),
        (lambda path: path.write_bytes(b"null"), CANNOT_BE_USED),
    ],
)
def test_file_that_others_could_have_written_or_that_is_damaged_is_refused_and_kept(
    harm: Callable[[Path], object], message: str, path: Path
) -> None:
    learn(store_at(path), Replica())
    harm(path)
    kept = path.read_bytes() if path.is_file() else None
    with pytest.raises(ConfigurationError, match=message):
        store_at(path)
    assert kept == (path.read_bytes() if path.is_file() else None)


def test_others_may_read_the_folder_of_a_file_of_ones_own_choice(path: Path) -> None:
    learn(store_at(path), Replica())
    path.parent.chmod(0o755)
    HistoryStore(IDENTITY.public_key, path)
    path.parent.chmod(0o775)
    with pytest.raises(ConfigurationError, match="history is open to others: chmod go-w"):
        HistoryStore(IDENTITY.public_key, path)
    path.parent.chmod(0o700)
    with pytest.raises(ConfigurationError, match="of another identity"):
        HistoryStore(STRANGER.public_key, path)


def test_file_is_written_if_the_history_has_changed_or_it_is_gone(path: Path) -> None:
    store, same, written = store_at(path), Replica().signed(), set()
    for _ in range(3):
        with store.transaction() as history:
            history.admit(same, NOW)
        written.add((path.stat().st_ino, path.stat().st_mtime_ns))
    assert len(written) == 1
    path.unlink()
    learn(store, Replica(2))
    assert count(store_at(path)) == 2


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.mark.parametrize("call", ["open", "mkdir", "fsync"])
def test_read_only_disk_is_reported_once(
    call: str, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, call, refuse)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            store = store_at(path)
            learn(store, Replica(1))
            learn(store, Replica(2))
            assert count(store) == 2
            assert store.path is None
    assert len(caplog.records) == 1
    assert f"cannot be kept in {path} (Read-only file system)" in caplog.text
    assert not path.exists()


def test_lock_that_is_never_released_times_out(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    learn(store_at(path), Replica(1))
    monkeypatch.setattr("blindrelay.client.state_file.LOCK_SECONDS", 0.05)
    store = store_at(path)
    with Path(f"{path}.lock").open("r+b") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        learn(store, Replica(2))
    assert "another process has it locked" in caplog.text
    assert count(store) == 2


def test_lock_is_released_although_a_fork_has_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A duplicate shares the lock, as a child's does."""
    original, inherited = state_file._wait_for, []

    def lock_and_fork(descriptor: int) -> None:
        original(descriptor)
        inherited.append(os.dup(descriptor))

    monkeypatch.setattr(state_file, "_wait_for", lock_and_fork)
    learn(store_at(path), Replica(1))
    monkeypatch.undo()
    store = store_at(path)
    learn(store, Replica(2))
    assert store.path == path
    assert count(store_at(path)) == 2
    for descriptor in inherited:
        os.close(descriptor)


WRITER = """
import sys
from pathlib import Path
from blindrelay.client import state_file
from blindrelay.client.history_store import HistoryStore
from tests.trust.replicas import IDENTITY, NOW, Replica
state_file.LOCK_SECONDS = 60.0
store = HistoryStore(IDENTITY.public_key, Path(sys.argv[1]))
print("ready", flush=True)
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    with store.transaction() as history:
        history.admit(Replica(number).signed(), NOW)
"""


def writer(path: Path, first: int, end: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, str(path), str(first), str(end)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)


def test_many_writers_lose_nothing_and_a_killed_one_leaves_a_complete_file(path: Path) -> None:
    learn(store_at(path), Replica(1))
    writers = [writer(path, 10 * number, 10 * number + 10) for number in range(1, 5)]
    for each in writers:
        each.communicate(timeout=PATIENCE)
    assert count(store_at(path)) == 41
    for begun in range(3):
        killed = writer(path, 50 + 60 * begun, 110 + 60 * begun)
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"ready\n"
        before = path.stat().st_ino
        while path.stat().st_ino == before and killed.poll() is None:
            pass
        killed.kill()
        killed.communicate(timeout=PATIENCE)
        assert count(store_at(path)) >= 42 + begun
    learn(store_at(path), Replica(250))
