"""ledger.toml: what it needs, and what each mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from blindrelay.ledger.config import read_ledger_config
from blindrelay.serving import Address, ConfigError
from blindrelay.v1.identity_text import format_identity

IDENTITY = format_identity(bytes(range(32)))

WHOLE = f"""
listen = "127.0.0.1:8470"
tokens = "relay-tokens"
books = "ledger.db"
admin = "127.0.0.1:8471"
[[bridge]]
address = "127.0.0.1:8490"
identity = "{IDENTITY}"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "ledger.toml"
    path.write_text(text)
    return path


def test_the_shortest_configuration(tmp_path: Path) -> None:
    config = read_ledger_config(written(tmp_path, WHOLE))
    assert config.admin == Address("127.0.0.1", 8471)
    assert config.admin_token == tmp_path / "admin-token"
    assert config.books == tmp_path / "ledger.db"
    assert [format_identity(each) for each in config.bridges[0].identities] == [IDENTITY]
    assert config.page is None


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("127.0.0.1:8470", "192.0.2.1:8470", "open to other machines"),
        ("127.0.0.1:8471", "192.0.2.1:8471", "admin = 192.0.2.1:8471 is open to other machines"),
        ("127.0.0.1:8471", "127.0.0.1:0", "admin has port 0"),
        ("127.0.0.1:8490", "127.0.0.1:0", "address has port 0"),
        ("127.0.0.1:8490", "192.0.2.1:8490", "is another machine: add a [bridge.tls] section"),
        (IDENTITY, IDENTITY[:-1] + "7", "identity is not an identity"),
        ("[[bridge]]", "[bridges]", "bridge is missing"),
        ('books = "ledger.db"', "", "books is missing"),
        ("tokens =", "token =", "is missing"),
        ("[[bridge]]", "[[bridge]]\nplaintext = true\ntls = {}", "contradicts [bridge.tls]"),
        ("[[bridge]]", '[[bridge]]\ntoken_file = "none"', "does not exist"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, before: str, after: str, words: str) -> None:
    assert before in WHOLE
    with pytest.raises(ConfigError, match=r"\S") as error:
        read_ledger_config(written(tmp_path, WHOLE.replace(before, after)))
    assert words in str(error.value)


def test_a_bridge_is_listed_once(tmp_path: Path) -> None:
    twice = WHOLE + WHOLE[WHOLE.index("[[bridge]]") :]
    with pytest.raises(ConfigError, match="address twice"):
        read_ledger_config(written(tmp_path, twice))
