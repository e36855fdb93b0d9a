"""Profiles are written, and nothing else of the file changes."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.client import ConfigurationError
from blindrelay.client.commands.profile_writer import write_private, write_profile

NEW = {"relay": "relay.example:443", "bridge": "br1", "token_file": "a file with “quotes” \\ and \t"}


def profiles(path: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = tomllib.loads(path.read_text())["profiles"]
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_new_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.toml"
    write_profile(path, "default", NEW)
    assert profiles(path) == {"default": NEW}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["config.toml"]


def test_nothing_else_of_the_file_changes(path: Path) -> None:
    others = '[profiles.one]\nrelay = "one:1"  # kept\n\n[providers]\nlocal = "http://localhost/v1"'
    path.write_text(f'[profiles.two] # old\nrelay = "two:1"\ntls = "off"\n\n{others}')
    write_profile(path, "two", NEW)
    assert profiles(path) == {"one": {"relay": "one:1"}, "two": NEW}
    assert others in path.read_text()
    write_profile(path, "one", NEW)
    assert profiles(path) == {"one": NEW, "two": NEW}
    assert tomllib.loads(path.read_text())["providers"] == {"local": "http://localhost/v1"}


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ('profiles.two.relay = "two:1"\n', {}),
        ('profiles = { two = { relay = "two:1" } }\n', {}),
        ('[profiles]\ntwo = { relay = "two:1" }\n', {}),
        ('[profiles."two"]\nrelay = "two:1"\n', {}),
        ('[profiles.two]\nrelay = """\n[x]\n"""\n', {}),
        ("[profiles]\n# empty\n", {}),
        ("profiles = { one = { relay = 'one:1' } }\n", {"one": {"relay": "one:1"}}),
        ("\ufeff[profiles.one]\nrelay = 'one:1'\n", {"one": {"relay": "one:1"}}),
    ],
)
def test_profile_of_any_form_is_replaced(text: str, others: dict[str, dict[str, str]], path: Path) -> None:
    path.write_text(text)
    write_profile(path, "two", NEW)
    assert profiles(path) == others | {"two": NEW}


@pytest.mark.parametrize("content", [b"[", b"profiles = 1", b"profiles.two = 1", b"profiles.two=[]", b"\xff"])
def test_invalid_file_is_kept(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"config\.toml"):
        write_profile(path, "two", NEW)
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["", "a b", "a.b", "a]", "ä", "../x", '"'])
def test_invalid_name_is_rejected(name: str, path: Path) -> None:
    with pytest.raises(ConfigurationError, match="name has letters"):
        write_profile(path, name, NEW)


def test_unwritable_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "token", tmp_path / "folder"):
        with pytest.raises(ConfigurationError, match="cannot write"):
            write_private(path, "x")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder"]


@given(value=st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"])))
def test_any_value_is_read_as_written(value: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / "config.toml"
    write_profile(path, "default", {"token_file": value})
    assert profiles(path) == {"default": {"token_file": value}}
