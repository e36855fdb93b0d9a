"""Key files: made once, for their owner alone, and never replaced or taken for each other."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from blindrelay.provider_bridge import DelegatedIdentity, load_identity, load_or_make_identity
from blindrelay.provider_bridge.cli import main
from blindrelay.provider_bridge.keys.delegation_file import read_delegation
from blindrelay.provider_bridge.keys.key_files import (
    format_public_key,
    load_signing_key,
    make_signing_key,
    parse_public_key,
)
from blindrelay.serving import ConfigError
from blindrelay.trust import IdentityKey, format_identity, identity_hash

from .replica import FakeTime


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "identity.key"


@pytest.fixture
def signing_key(tmp_path: Path) -> Path:
    return tmp_path / "signing.key"


def test_key_is_made_once(path: Path, signing_key: Path) -> None:
    made, signer = load_or_make_identity(path), make_signing_key(signing_key)
    for file in (path, signing_key):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert path.read_text() == made.seed.hex() + "\n"
    assert load_or_make_identity(path).public_key == load_identity(path).public_key == made.public_key
    with pytest.raises(ConfigError, match="never replaces"):
        make_signing_key(signing_key)
    assert load_signing_key(signing_key).public_key == signer.public_key
    assert set(path.parent.iterdir()) == {path, signing_key}, "no draft is left"
    others = path.with_name("others.key")
    others.symlink_to("made-meanwhile")  # it does not exist yet, and cannot be made
    with pytest.raises(ConfigError, match="exists already"):
        make_signing_key(others)


def test_file_without_a_key_is_refused(path: Path) -> None:
    path.touch(0o600)
    for text in ("", "00" * 31, "00" * 33, "0G" * 32, "AB" * 32, "00" * 32 + "\n\n"):
        path.write_text(text)
        with pytest.raises(ConfigError, match="64 hexadecimal digits"):
            load_or_make_identity(path)
        assert path.read_text() == text, "an existing file is never overwritten"


def test_key_that_is_open_to_others_is_refused(path: Path, signing_key: Path) -> None:
    load_or_make_identity(path)
    make_signing_key(signing_key)
    for mode in (0o604, 0o620):
        for file, load in ((path, load_or_make_identity), (signing_key, load_signing_key)):
            file.chmod(mode)
            with pytest.raises(ConfigError, match="chmod 600"):
                load(file)


def test_key_that_is_missing_or_cannot_be_written_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_identity(path)
    for file, reason in ((tmp_path / "missing" / "identity.key", "cannot be written"), (tmp_path, "be read")):
        with pytest.raises(ConfigError, match=reason):
            load_or_make_identity(file)
    assert list(tmp_path.iterdir()) == []


def test_neither_key_is_taken_for_the_other(path: Path, signing_key: Path) -> None:
    make_signing_key(signing_key)
    load_or_make_identity(path)
    with pytest.raises(ConfigError, match="not an identity key"):
        load_identity(signing_key)
    with pytest.raises(ConfigError, match="not a signing key"):
        load_signing_key(path)


def test_secret_is_not_taken_for_a_public_key(signing_key: Path) -> None:
    text = format_public_key(make_signing_key(signing_key).public_key)
    assert format_public_key(parse_public_key(text)) == text
    secret = signing_key.read_text().strip()
    for wrong in (secret, secret[4:], text[:-1], text + "0", text.upper(), ""):
        with pytest.raises(ConfigError, match="not a public signing key") as error:
            parse_public_key(wrong)
        assert secret[4:20] not in str(error.value)


def test_commands_make_what_a_bridge_runs_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> str:
        assert main(arguments) == 0
        return capsys.readouterr().out

    key, signing_key, delegation = (str(tmp_path / name) for name in ("identity.key", "signing.key", "d"))
    assert main(["identity", "--key", key]) == 2, "it is made on request alone"
    pinned = run("identity", "--key", key, "--make").strip()
    assert (
        run("identity", "--key", key).strip()
        == pinned
        == format_identity(load_identity(Path(key)).public_key)
    )
    public_key = run("signing-key", "--out", signing_key).strip()
    assert run("signing-key", "--key", signing_key).strip() == public_key
    delegate = ["delegate", "--key", key, "--signing-key", public_key, "--out", delegation, "--days"]
    assert run(*delegate, "90").startswith(f"{pinned} lets {public_key} speak for it until 20")
    assert run("identity", "--delegation", delegation).strip() == pinned
    started = DelegatedIdentity(Path(signing_key), Path(delegation), FakeTime(wall=time.time()).clock)
    assert format_identity(started.identity) == pinned

    successor = IdentityKey.generate().public_key
    run(*delegate, "9", "--next-identity", format_identity(successor))
    assert read_delegation(Path(delegation)).next_identity_hash == identity_hash(successor)
    for wrong in (["9", "--next-identity", pinned], ["9", "--next-identity", "br1"], ["0"]):
        assert main([*delegate, *wrong]) == 2
