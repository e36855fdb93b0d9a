"""Tokens are shown once and stored as hashes. A server accepts those that are in the file now."""

from __future__ import annotations

import hashlib
import stat
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
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
    read_token,
    revoke_token,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


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
    issue_token(path, "bob", NOW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in list_tokens(path)] == ["alice", "bob"]
    assert list(path.parent.iterdir()) == [path]


def test_no_two_tokens_are_the_same(path: Path) -> None:
    assert len({issue_token(path, f"n{index}", NOW) for index in range(20)}) == 20


def test_two_commands_at_once_lose_no_token(path: Path) -> None:
    threads = [threading.Thread(target=issue_token, args=(path, f"n{index}", NOW)) for index in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {entry.name for entry in list_tokens(path)} == {f"n{index}" for index in range(12)}


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
    with pytest.raises(ConfigError, match="does not exist"):
        revoke_token(path.with_name("absent"), "alice")
    with pytest.raises(ConfigError, match="the folder cannot be used"):
        issue_token(path / "absent" / "tokens", "alice", NOW)


@pytest.mark.parametrize(
    "line",
    ["alice", "alice abc x", "alice " + "g" * 64 + " x", "alice " + "a" * 64, "a b " + "a" * 64 + " x"],
)
def test_malformed_file_is_named_with_its_line(path: Path, line: str) -> None:
    path.write_text("ok " + "a" * 64 + " 2026\n" + line + "\n")
    with pytest.raises(ConfigError, match="line 2"):
        TokenFile(path)


def test_missing_file_is_an_error_at_start(path: Path) -> None:
    with pytest.raises(ConfigError, match="token issue NAME"):
        TokenFile(path)


def test_only_a_token_of_the_file_is_admitted(path: Path) -> None:
    token = issue_token(path, "alice", NOW)
    other = issue_token(path.with_name("other"), "alice", NOW)
    digest = hashlib.sha256(token.encode()).hexdigest()
    tokens = TokenFile(path)
    assert tokens.holder([("user-agent", "x"), authorization(token)])
    for shown in (
        f"Bearer {other}",
        f"Bearer {token[:-1]}",
        f"Bearer {token} ",
        f"Bearer  {token}",
        f"bearer {token}",
        f"Basic {token}",
        token,
        f"Bearer {digest}",
        "Bearer ",
        "",
    ):
        assert not tokens.holder([("authorization", shown)])
    assert not tokens.holder([("authorization", f"Bearer {token}".encode())])
    assert not tokens.holder([authorization(token), authorization(token)])
    assert not tokens.holder([authorization(token), authorization(other)])
    assert not tokens.holder([("proxy-authorization", f"Bearer {token}")])
    assert not tokens.holder([])
    assert not tokens.holder(None)


def test_changes_of_the_file_are_noticed(path: Path) -> None:
    first = issue_token(path, "first", NOW)
    tokens = TokenFile(path)
    second = issue_token(path, "second", NOW)
    assert admits(tokens, second)
    revoke_token(path, "first")
    assert not admits(tokens, first)
    assert admits(tokens, second)


def test_invalid_file_admits_nobody_until_it_is_repaired(path: Path) -> None:
    token = issue_token(path, "alice", NOW)
    good = path.read_text()
    problems: list[ConfigError] = []
    tokens = TokenFile(path, problems.append)
    path.write_text("junk")
    assert not admits(tokens, token)
    assert not admits(tokens, token)
    path.unlink()
    assert not admits(tokens, token)
    assert len(problems) == 2
    path.write_text(good)
    assert admits(tokens, token)


def test_file_that_could_not_be_read_for_a_moment_is_read_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, no_descriptors: Callable[[], AbstractContextManager[None]]
) -> None:
    monkeypatch.setattr(files, "RETRY_SECONDS", 0.0)
    problems: list[ConfigError] = []
    first = issue_token(path, "first", NOW)
    tokens = TokenFile(path, problems.append)
    second = issue_token(path, "second", NOW)
    with no_descriptors():
        assert not any(admits(tokens, token) for token in (first, second, first))
    assert admits(tokens, second)
    assert admits(tokens, first)
    assert len(problems) == 1


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
