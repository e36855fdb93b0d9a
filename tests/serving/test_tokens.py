"""Tokens are shown once and stored as hashes. They and other secrets are in private files."""

from __future__ import annotations

import hashlib
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from blindrelay.serving import (
    ConfigError,
    TokenFile,
    authorization,
    files,
    issue_token,
    list_tokens,
    read_bytes,
    read_config,
    read_secret,
    read_token,
    revoke_token,
)
from blindrelay.serving.files import RETRY_SECONDS, Followed, read_files_again, replace_file, write_new
from blindrelay.serving.tokens import MAX_TOKENS

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DIGEST = "a" * 64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def admits(tokens: TokenFile, token: str) -> bool:
    return tokens.holder([authorization(token)]) is not None


def test_token_is_stored_as_its_hash_in_a_private_file(path: Path) -> None:
    token = issue_token(path, "alice", NOW)
    assert token.startswith("brt_")
    assert len(token) == 47
    digest = hashlib.sha256(token.encode()).hexdigest()
    assert path.read_text() == f"alice {digest} 2026-01-02T03:04:05+00:00\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_no_two_tokens_are_the_same(path: Path) -> None:
    """Commands that run at once lose none."""
    names = [f"n{index}" for index in range(12)]
    with ThreadPoolExecutor(len(names)) as threads:
        tokens = set(threads.map(lambda name: issue_token(path, name, NOW), names))
    assert len(tokens) == len(names)
    assert {entry.name for entry in list_tokens(path)} == set(names)


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "ä", "x" * 65, "a/b"])
def test_invalid_name_is_rejected(path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is not a valid token name"):
        issue_token(path, name, NOW)
    assert not path.exists()


def test_wrong_command_is_an_error(path: Path) -> None:
    issue_token(path, "alice", NOW)
    with pytest.raises(ConfigError, match='a token named "alice" exists already'):
        issue_token(path, "alice", NOW)
    with pytest.raises(ConfigError, match='no token is named "bob"'):
        revoke_token(path, "bob")
    with pytest.raises(ConfigError, match="the folder cannot be used"):
        issue_token(path / "absent" / "tokens", "alice", NOW)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "the tokens file does not exist: make it with `token issue NAME"),
        (f"ok {DIGEST} 2026\nalice", "line 2"),
        (f"alice {DIGEST}", "line 1"),
        (f"alice {DIGEST} 2026 x", "line 1"),
        ("alice abc 2026", "line 1"),
        (f"alice {'g' * 64} 2026", "line 1"),
        (f"a/b {DIGEST} 2026", "line 1"),
        ("\xff", "the tokens file cannot be read"),
        ("\n" * (MAX_TOKENS + 1), "more than 100000 tokens"),
    ],
)
def test_missing_or_malformed_file_is_an_error_at_start(path: Path, text: str | None, words: str) -> None:
    if text is not None:
        path.write_text(text, "latin-1")
    with pytest.raises(ConfigError, match=words):
        TokenFile(path)


def test_only_a_token_of_the_file_is_admitted(path: Path) -> None:
    token = issue_token(path, "alice", NOW)
    other = issue_token(path.with_name("other"), "alice", NOW)
    tokens = TokenFile(path)
    assert tokens.holder([("user-agent", "x"), authorization(token)])
    digest = hashlib.sha256(token.encode()).hexdigest()
    shown = (other, token[:-1], f"{token} ", f" {token}", digest, "")
    for value in (*(f"Bearer {each}" for each in shown), f"bearer {token}", f"Basic {token}", token, ""):
        assert not tokens.holder([("authorization", value)])
    assert not tokens.holder([("authorization", f"Bearer {token}".encode())])
    assert not tokens.holder([authorization(token), authorization(token)])
    assert not tokens.holder([("proxy-authorization", f"Bearer {token}")])
    assert not tokens.holder(None)


def test_invalid_file_admits_nobody_until_it_is_repaired(path: Path) -> None:
    token = issue_token(path, "alice", NOW)
    good = path.read_text()
    problems: list[ConfigError] = []
    tokens = TokenFile(path, problems.append)
    path.write_text("junk")
    assert [admits(tokens, token) for _ in range(2)] == [False, False]
    path.unlink()
    assert not admits(tokens, token)
    assert len(problems) == 2
    path.write_text(good)
    assert admits(tokens, token)


def test_token_file_of_a_relay_is_read(path: Path) -> None:
    token = issue_token(path, "alice", NOW)
    ours = path.with_name("ours")
    ours.touch(mode=0o600)
    ours.write_text(token + "\n")
    assert read_token(ours) == token
    for wrong in ("", "brt_short", token + "x", token + "\n" + token):
        ours.write_text(wrong)
        with pytest.raises(ConfigError) as failure:
            read_token(ours)
        assert "brt_s" not in str(failure.value)
        assert token not in str(failure.value)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o604, 0o602, 0o601, 0o660])
def test_secret_that_others_can_read_or_its_group_can_change_is_rejected(tmp_path: Path, mode: int) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"s")
    secret.chmod(mode)
    assert read_bytes(secret, "certificate") == b"s"
    for path, words in (
        (tmp_path / "absent", "absent: the key does not exist"),
        (tmp_path, "cannot be read"),
    ):
        with pytest.raises(ConfigError, match=words):
            read_secret(path, "key")
    if mode in (0o600, 0o640):
        assert read_secret(secret, "key") == b"s"
        return
    with pytest.raises(ConfigError) as failure:
        read_secret(secret, "key")
    assert str(failure.value) == f"{secret}: the key is open to others (mode {mode:04o}); run chmod 600 on it"


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


def test_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    for write in (write_new, replace_file):
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
    """Unreadable ones are reported once, and tried again."""
    fickle = Fickle()
    assert (fickle.followed.first, fickle.followed.news()) == (1, None)
    fickle.version = 2
    assert [fickle.followed.news() for _ in range(3)] == [2, None, None]
    assert fickle.reads == 2
    read_files_again()
    assert [fickle.followed.news() for _ in range(2)] == [2, None]
    fickle.readable = False
    for version in (3, 4):
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
    assert [fickle.followed.news() for _ in range(2)] == [4, None]
    fickle.now += RETRY_SECONDS
    assert fickle.followed.news() is None
