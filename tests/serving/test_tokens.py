"""Tokens are shown once and stored as hashes. A server accepts those that are in the file now."""

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
    issue_token,
    list_tokens,
    read_token,
    revoke_token,
)
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
