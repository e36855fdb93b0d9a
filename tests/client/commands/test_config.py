"""`blindrelay config`, `blindrelay keys pin | verify`, and how profiles are written."""

from __future__ import annotations

import json
import stat
import tomllib
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.client import ConfigurationError, ConnectionConfig
from blindrelay.client.commands.profile_writer import write_private, write_profile
from blindrelay.client.connection_string import OPTIONS
from blindrelay.trust import IdentityKey, format_identity, identity_groups

from ..scripted_bridge import ScriptedBridge
from .conftest import Run, refused, succeeded

STRANGER = format_identity(IdentityKey(b"\x05" * 32).public_key)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


@pytest.fixture
def profile(bridge: ScriptedBridge, path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a profile for the bridge."""
    monkeypatch.delenv("BLINDRELAY_CONNECTION", raising=False)
    monkeypatch.setenv("BLINDRELAY_CONFIG", str(path))
    path.with_name("token").write_text("brt_test")
    path.with_name("token").chmod(0o600)
    path.write_text(
        f'[profiles.default]\nrelay = "127.0.0.1:{bridge.port}"\ntoken_file = "token"\ntls = "off"\n'
        f'bridge = "{format_identity(bridge.identity.public_key)}"\ndeadline = "10m"\n'
    )
    return path


def test_settings_of_a_profile(profile: Path, bridge: ScriptedBridge, run: Run) -> None:
    settings = json.loads(succeeded(run, "config", "--json"))
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
    out = succeeded(run, "config", "--json", "--relay", relay)
    settings = json.loads(out)
    assert settings["history"] == {"value": "off", "from": "--relay"}
    assert settings["credentials"] == {"value": "brought", "from": "--relay"}
    assert settings["provider"] == {"value": "openai", "from": "default"}
    assert str(to_bridge.token) not in shown + out


def test_every_option_is_shown(to_bridge: ScriptedBridge, run: Run) -> None:
    relay = f"{to_bridge.connection}&max_units=20000&headers=x-title&cache_salt=models.example"
    settings = json.loads(succeeded(run, "config", "--json", "--relay", relay))
    assert set(settings) == {"relay", *OPTIONS}
    assert settings["max_units"] == {"value": "20000", "from": "--relay"}
    assert settings["headers"]["value"] == "x-title"
    assert "api.deepseek.com" in settings["cache_salt"]["value"]
    assert "models.example" in settings["cache_salt"]["value"]


def test_keys_are_shown_by_their_providers(to_bridge: ScriptedBridge, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("openai sk-one\nanthropic sk-two\n")
    file.chmod(0o600)
    relay = f"{to_bridge.connection}&credentials=brought&keys={file}"
    out = succeeded(run, "config", "--json", "--relay", relay)
    assert json.loads(out)["keys"] == {"value": "openai, anthropic", "from": "--relay"}
    assert "sk-" not in out


def test_path_of_profiles(profile: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("config", "path") == (0, f"{profile}\n", "")
    assert json.loads(run("config", "path", "--json")[1])["file"] == str(profile)
    monkeypatch.delenv("BLINDRELAY_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    assert run("config", "path") == (0, f"{tmp_path}/none/blindrelay/config.toml\n", "")
    said = refused(run, "config")
    assert "no relay is configured: run `blindrelay init`, or set BLINDRELAY_CONNECTION" in said


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


NEW = {"relay": "relay.example:443", "bridge": "br1", "token_file": "a file with “quotes” \\ and \t"}


def profiles(path: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = tomllib.loads(path.read_text())["profiles"]
    return found


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
