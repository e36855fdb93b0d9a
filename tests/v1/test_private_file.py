"""Private files are written atomically and leave no temporary file."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from blindrelay.v1.private_file import make_file, make_folder, replace_file


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert make_file(path, b"first")
    assert not make_file(path, b"second")
    assert path.read_bytes() == b"first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for data in (b"old", b"new and longer", b""):
        status = replace_file(path, data)
        assert path.read_bytes() == data
        assert (status.st_ino, status.st_size) == (path.stat().st_ino, len(data))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [make_file, replace_file])
def test_no_link_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, bytes], object]
) -> None:
    """Neither one in place of the file, nor one in place of the draft."""
    others, path = tmp_path / "others", tmp_path / "file"
    others.write_text("others")
    path.symlink_to(others)
    replace_file(path, b"ours")
    assert not path.is_symlink()
    monkeypatch.setattr("secrets.token_hex", lambda _: "foreseen")
    (tmp_path / ".file.foreseen").symlink_to(others)
    with pytest.raises(FileExistsError):
        write(path, b"new")
    assert (path.read_text(), others.read_text()) == ("ours", "others")


@pytest.mark.parametrize(("module", "call"), [(os, "fsync"), (Path, "replace")])
def test_failed_write_leaves_the_old_file(
    module: object, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    replace_file(path, b"old")
    monkeypatch.setattr(module, call, refuse)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("call", "code", "is_failure"),
    [
        ("fsync", errno.EINVAL, False),  # FUSE, network file systems
        ("open", errno.EACCES, False),  # a folder of mode 0300
        ("fsync", errno.EIO, True),
    ],
)
def test_folder_that_cannot_be_synced(
    call: str, code: int, is_failure: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordinary = getattr(os, call)

    def of_files_only(at: int | Path, *arguments: int) -> object:
        if at.is_dir() if isinstance(at, Path) else stat.S_ISDIR(os.fstat(at).st_mode):
            raise OSError(code, os.strerror(code))
        return ordinary(at, *arguments)

    monkeypatch.setattr(os, call, of_files_only)
    with pytest.raises(OSError, match="Input/output") if is_failure else nullcontext():
        assert make_file(tmp_path / "new", b"data")
        replace_file(tmp_path / "new", b"newer")
        assert (tmp_path / "new").read_bytes() == b"newer"
    assert [each.name for each in tmp_path.iterdir()] == ["new"]


def test_one_of_many_writers_makes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda number: make_file(path, b"%d" % number), range(32)))
    assert made.count(True) == 1
    assert path.read_bytes() == b"%d" % made.index(True)
    assert list(tmp_path.iterdir()) == [path]


def test_new_folder_is_private_and_an_old_one_unchanged(tmp_path: Path) -> None:
    folder = tmp_path / "above" / "folder"
    make_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o750)
    make_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
