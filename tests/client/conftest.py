"""Clients of a scripted bridge, each with a state of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

from blindrelay.client import ConnectionConfig, SealedTransport
from blindrelay.testbed import Testbed
from blindrelay.testbed.ports import free_port
from blindrelay.trust import IdentityKey, format_identity
from tests.client.scripted_bridge import ScriptedBridge
from tests.patience import PATIENCE

IDENTITY = format_identity(IdentityKey.from_seed(bytes(range(32))).public_key)
RELAY = f"blindrelay://t@relay.example?bridge={IDENTITY}"
INJECTED = ConnectionConfig.from_string(RELAY)
BROUGHT = ConnectionConfig.from_string(f"{RELAY}&credentials=brought")
URL = "https://api.openai.com/v1/chat/completions"
LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Clients of each test begin without a key history."""
    folder = tmp_path / "state"
    monkeypatch.setenv("BLINDRELAY_STATE", str(folder))
    return folder


@pytest.fixture
def bridge() -> Iterator[ScriptedBridge]:
    with closing(ScriptedBridge(port=free_port())) as bridge:  # also after a restart
        yield bridge


@pytest.fixture(autouse=True)
def patient_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients in this process wait for peers on a busy machine. The tests of a limit set their own."""
    monkeypatch.setattr("blindrelay.client.account._CONNECT_SECONDS", PATIENCE)
    monkeypatch.setattr("blindrelay.client.commands.doctor.checks.SECONDS", PATIENCE)
    monkeypatch.setattr("blindrelay.client.commands.keys.sources._SECONDS", PATIENCE)
    monkeypatch.setattr("blindrelay.client.relay_connection._DIRECTORY_SECONDS", PATIENCE)
    monkeypatch.setattr("blindrelay.client.relay_connection._CLOSING_SECONDS", PATIENCE)
    monkeypatch.setattr("blindrelay.client.relay_connection._REASON_SECONDS", PATIENCE)
    monkeypatch.setattr("blindrelay.client.state_file.LOCK_SECONDS", PATIENCE)


@pytest.fixture
def no_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client does not wait long for a bridge that will not restart."""
    monkeypatch.setattr("blindrelay.client.sender.RESTART_SECONDS", 0.5)


@pytest.fixture(scope="session")
def bed() -> Iterator[Testbed]:
    """Real processes, with a tap in the relay and the scripted provider; do not harm it."""
    with Testbed("scripted", tap=8) as bed:
        yield bed


@pytest.fixture
def sealed(bridge: ScriptedBridge) -> Iterator[SealedTransport]:
    with SealedTransport(bridge.connection) as transport:
        yield transport


@pytest.fixture
def client(sealed: SealedTransport) -> Iterator[httpx2.Client]:
    with sealed.httpx2_client() as client:
        yield client


def client_of(library: Any, sealed: SealedTransport, way: str = "", **options: Any) -> Any:
    """A client of httpx or httpx2; `way` is "async_" for an asynchronous one."""
    return getattr(sealed, f"{way}{library.__name__}_client")(**options)
