"""The commands of `blindrelay-bridge` that end at once: their mistakes, and what `doctor` finds."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from blindrelay.provider_bridge import load_or_make_identity
from blindrelay.provider_bridge.cli import main
from blindrelay.provider_bridge.keys.key_files import make_signing_key
from tests.connect_proxy import connect_proxy

from .replica import DELEGATED, HELD, DelegatedReplica, configure
from .scripted_provider import ScriptedProvider


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of configurations, each with one mistake; it is the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.key").write_text("no key")
    (tmp_path / "bad.key").chmod(0o600)
    make_signing_key(tmp_path / "signing.key")
    config = configure(tmp_path).read_text()
    for name, text in (
        ("bad_key", config.replace("identity.key", "bad.key")),
        ("delegated", config.replace(HELD, DELEGATED)),
        ("no_ca", config.replace("http://", "https://") + 'ca = "none.pem"\n'),
    ):
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        ([], 2, "COMMAND"),
        (["serve"], 2, "--config"),
        (["serve", "--config", "bad_key.toml"], 2, "64 hexadecimal digits"),
        (["serve", "--config", "taken.toml"], 1, "port is taken"),
        (["serve", "--config", "no_metrics.toml"], 1, "cannot expose metrics"),
        (["serve", "--config", "delegated.toml"], 2, "the delegation does not exist"),
        (["serve", "--config", "no_ca.toml"], 2, "the CA certificate does not exist"),
        (["identity"], 2, "--delegation is required"),
        (["signing-key", "--out", "bad.key"], 2, "never replaces one"),
        (["delegate", "--key", "no.key", "--signing-key", "x", "--days", "1", "--out", "y"], 2, "not exist"),
        (["token", "list", "--tokens", "none"], 2, "does not exist"),
    ],
)
def test_mistake_is_one_line(
    files: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], code: int, complaint: str
) -> None:
    config = (files / "bridge.toml").read_text()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (files / "taken.toml").write_text(config.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        (files / "no_metrics.toml").write_text(f'metrics = "127.0.0.1:{port}"\n{config}')
        assert main(arguments) == code
    shown = capfd.readouterr()
    assert shown.out == ""
    (line,) = [line for line in shown.err.splitlines() if line.startswith("blindrelay-bridge:")]
    assert complaint in line
    assert shown.err == line + "\n", "a bridge that never served says nothing else"


def test_token_is_issued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "issue", "relay", "--tokens", str(tmp_path / "tokens")]) == 0
    assert capsys.readouterr().out.startswith("brt_")


class Doctor:
    """Runs the command; a provider entry has a credential, and `more` lines."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        (folder / "key").write_text("sk-canary")
        (folder / "key").chmod(0o600)

    def examine(self, target: str = "http://127.0.0.1:1", keys: str = HELD, more: str = "") -> dict[str, Any]:
        """Each check and its finding."""
        more += '\norigin = "https://models.example"\ncredential = { file = "key" }'
        file = configure(self.folder, target, keys=keys, more=more)
        code = main(["doctor", "--config", str(file), "--json"])
        found = json.loads(self._capsys.readouterr().out)
        assert found["ok"] == (code == 0)
        return {each["check"]: each for each in found["checks"]}


@pytest.fixture
def doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(tmp_path, capsys)


async def test_listening_provider_is_reached_and_sent_nothing(doctor: Doctor) -> None:
    load_or_make_identity(doctor.folder / "identity.key")
    async with ScriptedProvider().serving() as provider:
        found = await asyncio.to_thread(doctor.examine, f"http://localhost:{provider.port}")
        with connect_proxy() as proxy:
            more = f'proxy = "http://127.0.0.1:{proxy.port}"'
            through = await asyncio.to_thread(doctor.examine, provider.origin, more=more)
            await provider.idle()
    assert (provider.received, through["provider"]["ok"]) == ([], True)
    assert proxy.requests[0].startswith(f"CONNECT 127.0.0.1:{provider.port} ")
    assert list(found) == ["configuration", "identity", "listen", "provider"]
    assert all(each["ok"] for each in found.values())
    assert found["identity"]["detail"].startswith("br1")


@pytest.mark.parametrize(
    ("target", "status", "words"),
    [
        ("https://nowhere.invalid", None, "its name was not found"),
        ("http://127.0.0.1:1", None, "could not be reached"),
        ("https://models.example", 403, "refused with status 403"),
    ],
)
def test_missing_provider_is_a_failure(doctor: Doctor, target: str, status: int | None, words: str) -> None:
    with connect_proxy(status or 200) as proxy:
        more = f'proxy = "http://127.0.0.1:{proxy.port}"' if status else ""
        provider = doctor.examine(target, more=more)["provider"]
    assert words in provider["detail"]
    assert ("proxy" in provider["remedy"]) is (status is not None)


@pytest.mark.parametrize(("days", "ok"), [(30, True), (3, False)])
def test_delegation_that_ends_soon_is_a_failure(doctor: Doctor, days: int, ok: bool) -> None:
    DelegatedReplica(doctor.folder, days, time.time())
    found = doctor.examine(keys=DELEGATED)["identity"]
    assert (found["ok"], "delegated until" in found["detail"]) == (ok, True)


def test_missing_identity_key_is_not_made(doctor: Doctor) -> None:
    found = doctor.examine()["identity"]
    assert (found["ok"], "first start" in found["detail"]) == (True, True)
    assert not (doctor.folder / "identity.key").exists()
