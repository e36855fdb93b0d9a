"""The identity key's file: made once, for its owner alone."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from blindrelay.provider_bridge import load_identity, load_or_make_identity
from blindrelay.serving import ConfigError


def test_a_key_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    made = load_or_make_identity(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == made.seed.hex() + "\n"
    assert load_or_make_identity(path).public_key == load_identity(path).public_key == made.public_key
    assert [file.name for file in tmp_path.iterdir()] == ["identity.key"], "no draft is left"


def test_two_keys_differ(tmp_path: Path) -> None:
    one, other = load_or_make_identity(tmp_path / "a"), load_or_make_identity(tmp_path / "b")
    assert one.public_key != other.public_key


def test_a_missing_key_is_not_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_identity(tmp_path / "identity.key")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "00" * 31, "00" * 33, "0G" * 32, "AB" * 32, "00" * 32 + "\n\n"])
def test_a_file_that_is_no_key(tmp_path: Path, text: str) -> None:
    path = tmp_path / "identity.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="64 hexadecimal digits"):
        load_or_make_identity(path)
    assert path.read_text() == text, "what is there is never overwritten"


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o660])
def test_a_key_that_is_open_to_others(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "identity.key"
    load_or_make_identity(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_or_make_identity(path)


def test_a_key_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        load_or_make_identity(tmp_path / "missing" / "identity.key")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_or_make_identity(tmp_path / "folder")
