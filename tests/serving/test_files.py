"""Secrets must be private. They have a path or a name in the credential directory. Changes are followed."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from blindrelay.serving import ConfigError, files, read_bytes, read_config, read_secret
from blindrelay.serving.files import (
    RETRY_SECONDS,
    Followed,
    Latest,
    read_files_again,
    replace_file,
    write_new,
)

Write = Callable[[Path, str, str], None]


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_secret_may_be_readable_for_its_owner_and_group(tmp_path: Path, mode: int) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"s")
    secret.chmod(mode)
    assert read_secret(secret, "key") == b"s"


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o601, 0o660])
def test_secret_that_others_can_read_or_change_is_rejected(tmp_path: Path, mode: int) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"s")
    secret.chmod(mode)
    with pytest.raises(ConfigError) as failure:
        read_secret(secret, "key")
    assert str(failure.value) == f"{secret}: the key is open to others (mode {mode:04o}); run chmod 600 on it"
    assert read_bytes(secret, "certificate") == b"s"


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
    with pytest.raises(ConfigError, match="has no such credential"):
        read_path(tmp_path, "credential:tls.kye")
    assert read_path(tmp_path, "./credential:tls.key") == tmp_path / "credential:tls.key"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "../a"])
def test_credential_is_one_file_of_that_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(ConfigError, match=r"some\.toml: key = .* does not name a file in the credential dir"):
        read_path(tmp_path, f"credential:{name}")


@pytest.mark.parametrize("value", ["credential:a\\u0000b", "a\\u0000b"])
def test_path_with_a_nul_is_rejected(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=r"some\.toml: key contains a NUL character"):
        read_path(tmp_path, value)
    with pytest.raises(ConfigError, match="does not name a file"):
        files.credential_path("a\0b")


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_credential_directory_the_error_tells_what_sets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    if value is not None:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", value)
    with pytest.raises(ConfigError, match=r"CREDENTIALS_DIRECTORY, which is not set.*LoadCredential=tls:"):
        read_path(tmp_path, "credential:tls")


def test_file_is_private_and_no_draft_stays(tmp_path: Path) -> None:
    """write_new() leaves an existing file as it is, and replace_file() replaces it."""
    path = tmp_path / "file"
    steps = ((write_new, "first", "first"), (write_new, "second", "first"), (replace_file, "third", "third"))
    for write, text, expected in steps:
        write(path, text, "key")
        assert path.read_text() == expected
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [write_new, replace_file])
def test_file_that_cannot_be_written_is_named(tmp_path: Path, write: Write) -> None:
    with pytest.raises(ConfigError, match=r"absent/file: the key cannot be written \(No such file"):
        write(tmp_path / "absent" / "file", "text", "key")


@pytest.mark.parametrize("write", [write_new, replace_file])
def test_file_in_place_of_the_draft_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _: "foreseen")
    others = tmp_path / "others"
    others.write_text("others")
    (tmp_path / ".file.foreseen").symlink_to(others)
    with pytest.raises(ConfigError, match="the key cannot be written"):
        write(tmp_path / "file", "text", "key")
    assert others.read_text() == "others"
    assert not (tmp_path / "file").exists()


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
    assert fickle.reads == 3


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


def test_latest_is_the_newest_usable_version(tmp_path: Path) -> None:
    file, problems = tmp_path / "file", list[ConfigError]()

    def read() -> int:
        try:
            return int(file.read_text())
        except ValueError:
            raise ConfigError("not a number") from None

    file.write_text("one")
    with pytest.raises(ConfigError):
        Latest((file,), read)
    file.write_text("1")
    latest = Latest((file,), read, problems.append)
    for text, value, problem in (("22", 22, 0), ("three", 22, 1), ("four", 22, 2), ("55555", 55_555, 2)):
        file.write_text(text)
        assert [latest(), latest()] == [value, value]
        assert len(problems) == problem
    file.write_text("sixsix")
    read_files_again()
    assert len(problems) == 3, "reported at once"
