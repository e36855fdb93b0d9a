"""`blindrelay config` and `blindrelay keys pin | verify`."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from blindrelay.client import ConnectionConfig
from blindrelay.trust import IdentityKey, format_identity, identity_groups

from ..conftest import ScriptedBridge
from .conftest import Run, refused, succeeded

STRANGER = format_identity(IdentityKey(b"\x05" * 32).public_key)


@pytest.fixture
def profile(bridge: ScriptedBridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a profile for the bridge."""
    monkeypatch.delenv("BLINDRELAY_CONNECTION", raising=False)
    file = tmp_path / "config.toml"
    monkeypatch.setenv("BLINDRELAY_CONFIG", str(file))
    (tmp_path / "token").write_text("brt_test")
    (tmp_path / "token").chmod(0o600)
    file.write_text(
        f'[profiles.default]\nrelay = "127.0.0.1:{bridge.port}"\ntoken_file = "token"\ntls = "off"\n'
        f'bridge = "{format_identity(bridge.identity.public_key)}"\ndeadline = "10m"\n'
    )
    return file


def test_settings_of_a_profile(profile: Path, bridge: ScriptedBridge, run: Run) -> None:
    out = succeeded(run, "config", "--json")
    settings = json.loads(out)
    given = f"{profile}, profile default"
    assert settings["relay"] == {"value": f"127.0.0.1:{bridge.port}", "from": given}
    assert settings["token"] == {"value": f"set, in {profile.parent / 'token'}", "from": given}
    assert settings["deadline"] == {"value": "600 s", "from": given}
    assert settings["credentials"] == {"value": "injected", "from": "default"}
    assert settings["history"]["value"].endswith(format_identity(bridge.identity.public_key))


def test_settings_of_environment_and_command_line(to_bridge: ScriptedBridge, run: Run) -> None:
    shown = succeeded(run, "config")
    lines = [line.split(maxsplit=1) for line in shown.splitlines()]
    for line in (["from", "BLINDRELAY_CONNECTION"], ["token", "set"], ["deadline", "3600 s (default)"]):
        assert line in lines
    relay = to_bridge.connection + "&history=off&credentials=brought"
    _, out, _ = run("config", "--json", "--relay", relay)
    settings = json.loads(out)
    assert settings["history"] == {"value": "off", "from": "--relay"}
    assert settings["credentials"] == {"value": "brought", "from": "--relay"}
    assert str(to_bridge.token) not in shown + out


def test_path_of_the_profile_file(
    profile: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("config", "path") == (0, f"{profile}\n", "")
    assert json.loads(run("config", "path", "--json")[1])["file"] == str(profile)
    monkeypatch.delenv("BLINDRELAY_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    assert run("config", "path") == (0, f"{tmp_path}/none/blindrelay/config.toml\n", "")
    assert "no relay is configured" in refused(run, "config")


def test_keys_are_verified(to_bridge: ScriptedBridge, run: Run) -> None:
    identity = format_identity(to_bridge.identity.public_key)
    assert run("keys", "verify") == (0, f"1 good, by {identity}\n", "")
    other = to_bridge.connection.replace(identity, STRANGER)
    assert "no key can be trusted" in refused(run, "keys", "verify", "--relay", other, code=3)


def test_key_of_another_bridge_is_refused(to_bridge: ScriptedBridge, run: Run) -> None:
    with closing(ScriptedBridge()) as stranger:
        to_bridge.substitute = lambda response: response.directories.extend([stranger.directory()])
        code, out, err = run("keys", "verify", "--json")
    assert (code, err) == (1, "")
    report = json.loads(out)
    (refusal,) = report["refused"]
    assert report["good"] == 1
    assert format_identity(stranger.identity.public_key) in refusal


def test_identity_is_pinned(profile: Path, bridge: ScriptedBridge, run: Run) -> None:
    bridge.identity = IdentityKey.generate()
    new = bridge.identity.public_key
    before = ConnectionConfig.from_env()
    out = succeeded(run, "keys", "pin", identity_groups(new).upper())
    assert identity_groups(new) in out
    assert ConnectionConfig.from_env() == replace(before, identity=new)
    assert run("keys", "verify")[0] == 0
    pinned = json.loads(run("keys", "pin", format_identity(new), "--json")[1])
    assert (pinned["bridge"], pinned["file"]) == (format_identity(new), str(profile))


def test_identity_that_is_not_served_is_not_pinned(profile: Path, run: Run, state: Path) -> None:
    before = profile.read_text()
    assert "no key can be trusted" in refused(run, "keys", "pin", STRANGER, code=3)
    for mistyped in ("br1", STRANGER[:-1], "x" + STRANGER):
        refused(run, "keys", "pin", mistyped)
    assert profile.read_text() == before
    assert not list(state.rglob("br1*"))
    assert run("keys", "pin", STRANGER, "--no-check")[0] == 0
    assert format_identity(ConnectionConfig.from_env().identity) == STRANGER


def test_pin_in_the_environment_is_not_changed(to_bridge: ScriptedBridge, run: Run) -> None:
    pinned = format_identity(to_bridge.identity.public_key)
    message = "blindrelay: the pin is in BLINDRELAY_CONNECTION: change it there\n"
    assert refused(run, "keys", "pin", pinned) == message
