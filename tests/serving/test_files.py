"""Secrets must be private. They have a path or a name in the credential directory. Changes are followed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from blindrelay.serving import ConfigError, files, read_bytes, read_config, read_secret
from blindrelay.serving.files import RETRY_SECONDS, Followed, read_files_again, replace_file, write_new

Write = Callable[[Path, str, str], None]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o604, 0o602, 0o601, 0o660])
def test_secret_that_others_can_read_or_its_group_can_change_is_rejected(tmp_path: Path, mode: int) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"s")
    secret.chmod(mode)
    assert read_bytes(secret, "certificate") == b"s"
    if mode in (0o600, 0o640):
        assert read_secret(secret, "key") == b"s"
        return
    with pytest.raises(ConfigError) as failure:
        read_secret(secret, "key")
    assert str(failure.value) == f"{secret}: the key is open to others (mode {mode:04o}); run chmod 600 on it"


def test_missing_file_and_directory_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent: the key does not exist"):
        read_secret(tmp_path / "absent", "key")
    with pytest.raises(ConfigError, match="the key cannot be read"):
        read_secret(tmp_path, "key")


def read_path(folder: Path, value: str) -> Path:
    """The path that a configuration's value means."""
    file = folder / "some.toml"
    file.write_text(f'key = "{value}"\n')
    return read_config(file, lambda table: table.path("key"))


def test_credential_is_in_the_credential_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "tls.key").touch()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert read_path(tmp_path, "credential:tls.key") == credentials / "tls.key"
    assert read_path(tmp_path, "./credential:tls.key") == tmp_path / "credential:tls.key"
    with pytest.raises(ConfigError, match="does not name a file"):
        files.credential_path("a\0b")


NO_NAME = r"some\.toml: key = .* does not name a file in the credential dir"
NO_DIRECTORY = r"CREDENTIALS_DIRECTORY, which is not set.*LoadCredential=tls:"


@pytest.mark.parametrize(
    ("value", "directory", "words"),
    [
        *((f"credential:{name}", "/", NO_NAME) for name in ("", ".", "..", "etc/a", "/etc/passwd", "../a")),
        ("credential:tls.kye", "/", "has no such credential"),
        ("credential:tls", "", NO_DIRECTORY),
        ("credential:tls", None, NO_DIRECTORY),
        ("credential:a\\u0000b", "/", r"some\.toml: key contains a NUL character"),
        ("a\\u0000b", "/", r"some\.toml: key contains a NUL character"),
    ],
)
def test_wrong_path_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, directory: str | None, words: str
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    if directory is not None:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", directory)
    with pytest.raises(ConfigError, match=words):
        read_path(tmp_path, value)


@pytest.mark.parametrize("write", [write_new, replace_file])
def test_file_that_cannot_be_written_is_named(tmp_path: Path, write: Write) -> None:
    with pytest.raises(ConfigError, match=r"absent/file: the key cannot be written \(No such file"):
        write(tmp_path / "absent" / "file", "text", "key")


class Fickle:
    """Files in one of several versions, which can be read or not, and a clock."""

    def __init__(self) -> None:
        self.version = 1
        self.readable = True
        self.now = 0.0
        self.reads = 0
        self.followed = Followed(lambda: self.version, self.read, lambda: self.now)

    def read(self) -> int:
        self.reads += 1
        if not self.readable:
            raise ConfigError("not now")
        return self.version


def test_followed_files_are_read_when_they_change_or_are_asked_for() -> None:
    fickle = Fickle()
    assert fickle.followed.first == 1
    assert fickle.followed.news() is None
    fickle.version = 2
    assert [fickle.followed.news() for _ in range(3)] == [2, None, None]
    assert fickle.reads == 2
    read_files_again()
    assert [fickle.followed.news() for _ in range(2)] == [2, None]


def test_unreadable_followed_files_are_reported_once_and_tried_again() -> None:
    fickle = Fickle()
    fickle.readable = False
    for version in (2, 3):
        fickle.version = version
        with pytest.raises(ConfigError):
            fickle.followed.news()
        fickle.reads = 0
        for tries in (1, 2):
            assert fickle.followed.news() is None
            fickle.now += RETRY_SECONDS
            assert fickle.followed.news() is None
            assert fickle.reads == tries, "at most once in that time"
    fickle.readable = True
    assert fickle.followed.news() is None
    fickle.now += RETRY_SECONDS
    assert [fickle.followed.news() for _ in range(2)] == [3, None]
    fickle.now += RETRY_SECONDS
    assert fickle.followed.news() is None
