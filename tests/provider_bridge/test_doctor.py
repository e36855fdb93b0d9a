"""`blindrelay-bridge doctor`: files, delegation, providers. They get no request and no credential."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from blindrelay.provider_bridge.cli import main
from blindrelay.provider_bridge.keys.delegation_file import make_delegation, write_delegation
from blindrelay.provider_bridge.keys.key_files import load_or_make_identity, make_signing_key
from tests.connect_proxy import connect_proxy

CONFIG = """
listen = "127.0.0.1:0"
{keys}
[[provider]]
name = "local"
preset = "openai"
origin = "https://models.example"
target = "{target}"
credential = {{ file = "key" }}
{more}
"""
HELD = 'identity_key = "identity.key"'
DELEGATED = 'signing_key = "signing.key"\ndelegation = "delegation"'


@contextmanager
def listening(tls: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """A provider's port, and what it was sent after the connection, or its handshake, was there."""
    heard: list[bytes] = []
    with socket.create_server(("localhost", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            try:
                with connection if tls is None else tls.wrap_socket(connection, server_side=True) as peer:
                    heard.append(peer.recv(1_000))
            except OSError:
                heard.append(b"")
            finally:
                connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], heard
        thread.join(20)


def configure(folder: Path, target: str, keys: str = HELD, more: str = "") -> Path:
    load_or_make_identity(folder / "identity.key")
    (folder / "key").write_text("sk-canary")
    (folder / "key").chmod(0o600)
    (folder / "bridge.toml").write_text(CONFIG.format(keys=keys, target=target, more=more))
    return folder / "bridge.toml"


def examined(file: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    code = main(["doctor", "--config", str(file), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] == (code == 0)
    return {each["check"]: each for each in found["checks"]}


def test_a_provider_that_listens_is_reached_and_sent_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with listening() as (port, heard):
        found = examined(configure(tmp_path, f"http://localhost:{port}"), capsys)
    assert list(found) == ["configuration", "identity", "listen", "provider"]
    assert all(each["ok"] for each in found.values())
    assert found["identity"]["detail"].startswith("br1")
    assert heard == [b""]


@pytest.mark.parametrize("trusted", [True, False])
def test_the_entrys_ca_decides_and_no_credential_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], trusted: bool
) -> None:
    ca, server = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(server)
    (ca if trusted else trustme.CA()).cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with listening(server) as (port, heard):
        file = configure(tmp_path, f"https://localhost:{port}", more='ca = "ca.pem"')
        provider = examined(file, capsys)["provider"]
    assert provider["ok"] is trusted
    assert ("is reached" if trusted else "its TLS certificate was not accepted") in provider["detail"]
    assert heard == [b""]


def test_a_provider_is_reached_through_the_entrys_proxy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with connect_proxy() as proxy, listening() as (port, heard):
        file = configure(
            tmp_path, f"http://localhost:{port}", more=f'proxy = "http://127.0.0.1:{proxy.port}"'
        )
        provider = examined(file, capsys)["provider"]
    assert provider["ok"]
    assert proxy.requests[0].startswith(f"CONNECT localhost:{port} ")
    assert heard == [b""]


@pytest.mark.parametrize(
    ("target", "words"),
    [("https://nowhere.invalid", "its name was not found"), ("http://127.0.0.1:1", "could not be reached")],
)
def test_a_provider_that_is_not_there_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str, words: str
) -> None:
    provider = examined(configure(tmp_path, target), capsys)["provider"]
    assert words in provider["detail"]
    assert provider["remedy"]


def test_a_proxy_that_refuses_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with connect_proxy(403) as proxy:
        file = configure(tmp_path, "https://models.example", more=f'proxy = "http://127.0.0.1:{proxy.port}"')
        provider = examined(file, capsys)["provider"]
    assert "refused with status 403" in provider["detail"]
    assert "proxy" in provider["remedy"]


@pytest.mark.parametrize(("days", "ok"), [(30, True), (3, False)])
def test_a_delegation_that_ends_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], days: int, ok: bool
) -> None:
    identity = load_or_make_identity(tmp_path / "identity.key")
    public_key = make_signing_key(tmp_path / "signing.key").public_key
    write_delegation(tmp_path / "delegation", make_delegation(identity, public_key, days, time.time()))
    found = examined(configure(tmp_path, "http://127.0.0.1:1", DELEGATED), capsys)["identity"]
    assert found["ok"] is ok
    assert "delegated until" in found["detail"]


def test_an_identity_that_is_not_there_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = configure(tmp_path, "http://127.0.0.1:1")
    (tmp_path / "identity.key").unlink()
    found = examined(file, capsys)["identity"]
    assert found["ok"]
    assert "first start" in found["detail"]
    assert not (tmp_path / "identity.key").exists()
