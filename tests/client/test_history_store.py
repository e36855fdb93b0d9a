"""The history file: written atomically, private, and shared between processes."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from blindrelay.client import ConfigurationError, ConnectionConfig, state_file
from blindrelay.client.history_store import HistoryStore, default_history_file, open_history
from blindrelay.trust import decode_history, format_identity

from ..trust.replicas import IDENTITY, NOW, STRANGER, Replica

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


def connection(options: str = "") -> ConnectionConfig:
    return ConnectionConfig.from_string(f"blindrelay://relay.example?bridge={TEXT}{options}")


def test_history_option_sets_the_file(tmp_path: Path) -> None:
    assert open_history(connection()).path == default_history_file(IDENTITY.public_key)
    assert open_history(connection("&history=on")).path == default_history_file(IDENTITY.public_key)
    assert open_history(connection("&history=off")).path is None
    assert open_history(connection(f"&history={tmp_path}/keys")).path == tmp_path / "keys"
    with pytest.raises(ConfigurationError, match="history is a file, on or off"):
        connection("&history=")


def test_without_a_home_the_history_stays_in_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.delenv("BLINDRELAY_STATE")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    store = open_history(connection())
    assert store.path is None
    assert "no home directory" in caplog.text
    learn(store, Replica())
    assert count(store) == 1


def test_history_is_kept_for_the_next_process(path: Path) -> None:
    learn(store_at(path), Replica())
    assert count(store_at(path)) == 1
    assert decode_history(path.read_text()).identity == IDENTITY.public_key


def test_file_and_folder_are_private(path: Path) -> None:
    before = os.umask(0)
    try:
        learn(store_at(path), Replica())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {each.name for each in path.parent.iterdir()} == {TEXT, TEXT + ".lock"}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_file_open_to_others_is_refused(mode: int, path: Path) -> None:
    learn(store_at(path), Replica())
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"{TEXT} is open to others: chmod go-rwx"):
        store_at(path)


def test_folder_open_to_others_is_refused(path: Path) -> None:
    learn(store_at(path), Replica())
    path.parent.chmod(0o755)
    with pytest.raises(ConfigurationError, match="history is open to others: chmod go-rwx"):
        store_at(path)
    HistoryStore(IDENTITY.public_key, path)  # others may read the folder of a file of one's own choice
    path.parent.chmod(0o775)
    with pytest.raises(ConfigurationError, match="history is open to others: chmod go-w"):
        HistoryStore(IDENTITY.public_key, path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
@pytest.mark.parametrize("which", ["file", "folder"])
def test_file_of_another_user_is_refused(which: str, path: Path) -> None:
    learn(store_at(path), Replica())
    os.chown(path if which == "file" else path.parent, 65_534, -1)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        store_at(path)


def test_link_is_refused(path: Path, tmp_path: Path) -> None:
    learn(store_at(path), Replica())
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="is a link"):
        store_at(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"null"])
def test_damaged_file_is_refused_and_kept(content: bytes, path: Path) -> None:
    learn(store_at(path), Replica())
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"{TEXT} cannot be used: .* move it away"):
        store_at(path)
    assert path.read_bytes() == content


def test_another_bridges_history_is_refused(path: Path) -> None:
    learn(store_at(path), Replica())
    with pytest.raises(ConfigurationError, match="of another identity"):
        HistoryStore(STRANGER.public_key, path)


def test_moved_file_is_written_again(path: Path) -> None:
    store = store_at(path)
    learn(store, Replica(1))
    path.unlink()
    learn(store, Replica(2))
    assert count(store_at(path)) == 2


def test_unchanged_history_is_not_written(path: Path) -> None:
    store, replica = store_at(path), Replica()
    same = replica.signed()
    for _ in range(2):
        with store.transaction() as history:
            history.admit(same, NOW)
        written = path.stat().st_ino, path.stat().st_mtime_ns
        with store.transaction() as history:
            history.admit(same, NOW)
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == written


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


def test_file_instead_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "history").write_text("")
    with pytest.raises(ConfigurationError, match="not a file in a folder"):
        store_at(tmp_path / "history" / TEXT)


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


def test_lock_is_released_although_a_forked_child_has_its_descriptor(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
from blindrelay.client.history_store import HistoryStore
from tests.trust.replicas import IDENTITY, NOW, Replica
store = HistoryStore(IDENTITY.public_key, Path(sys.argv[1]))
first = int(sys.argv[2])
print("ready", flush=True)
for number in range(first, first + int(sys.argv[3])):
    with store.transaction() as history:
        history.admit(Replica(number).signed(), NOW)
"""


def writer(path: Path, first: int, number: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, str(path), str(first), str(number)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)


def test_many_writers_lose_nothing(path: Path) -> None:
    learn(store_at(path), Replica(1))
    writers = [writer(path, 10 * number, 10) for number in range(1, 5)]
    for each in writers:
        each.communicate(timeout=60)
        assert each.returncode == 0
    assert count(store_at(path)) == 41


def test_killed_writer_leaves_a_complete_file(path: Path) -> None:
    learn(store_at(path), Replica(1))
    for round_ in range(3):
        killed = writer(path, 2 + 60 * round_, 60)
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"ready\n"
        before = path.stat().st_ino
        while path.stat().st_ino == before and killed.poll() is None:
            pass
        killed.send_signal(signal.SIGKILL)
        killed.communicate(timeout=60)
        assert count(store_at(path)) >= 2 + round_
    learn(store_at(path), Replica(250))
