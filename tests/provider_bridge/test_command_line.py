"""The commands of `blindrelay-bridge` that end at once, and the mistakes of a first day."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from blindrelay.provider_bridge.cli import main
from blindrelay.provider_bridge.keys.key_files import make_signing_key

from .replica import DELEGATED, HELD, configure


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of configurations, each with one mistake; it is the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.key").write_text("no key")
    (tmp_path / "bad.key").chmod(0o600)
    make_signing_key(tmp_path / "signing.key")
    config = configure(tmp_path).read_text()
    for name, text in (
        ("broken", "listen = "),
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
        (["serve", "--config", "broken.toml"], 2, "not valid TOML"),
        (["serve", "--config", "bad_key.toml"], 2, "64 hexadecimal digits"),
        (["serve", "--config", "taken.toml"], 1, "port is taken"),
        (["serve", "--config", "no_metrics.toml"], 1, "cannot expose metrics"),
        (["serve", "--config", "delegated.toml"], 2, "the delegation does not exist"),
        (["serve", "--config", "no_ca.toml"], 2, "the CA certificate does not exist"),
        (["identity"], 2, "--delegation is required"),
        (["identity", "--delegation", "bad.key"], 2, "not a delegation"),
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
