"""The key history outlives the process, and a change of identity is reported."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from blindrelay.client import ConfigurationError, SealedTransport
from blindrelay.client.history_store import HistoryStore, default_history_file
from blindrelay.client.key_ring import KeyRing
from blindrelay.sealing import SealingKey
from blindrelay.trust import IdentityKey, format_identity, identity_hash
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse

from ..trust.replicas import DAY
from .conftest import URL, ScriptedBridge


def status_of(bridge: ScriptedBridge, options: str = "") -> int:
    """The status of a request from a new client, as in a new process."""
    with SealedTransport(bridge.connection + options) as sealed, sealed.httpx2_client() as client:
        return client.get(URL).status_code


def complaint(bridge: ScriptedBridge) -> str:
    with SealedTransport(bridge.connection) as sealed, sealed.httpx2_client() as client:
        response = client.get(URL)
        assert response.headers["x-blindrelay-error"] == "client/key_trust"
        return str(response.json()["error"]["message"])


def test_fork_is_noticed_by_this_process_and_by_later_ones(
    bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    with sealed.httpx2_client() as client:
        client.get(URL)
        bridge.key, bridge.sequence = SealingKey.generate(bridge.key.not_before, bridge.key.not_after), 0
        assert client.get(URL).headers["x-blindrelay-error"] == "relay/key_unknown"
        calls = bridge.calls
        assert "two different key directories" in client.get(URL).json()["error"]["message"]
    for _ in range(2):
        assert "two different key directories" in complaint(bridge)
    assert len(sealed.proofs) == len(SealedTransport(bridge.connection).proofs) == 1
    assert (bridge.calls, len(bridge.received)) == (calls, 1)


def test_history_off_writes_nothing(bridge: ScriptedBridge, state: Path) -> None:
    for _ in range(2):
        bridge.sequence = 0
        assert status_of(bridge, "&history=off") == 200
    assert not state.exists()


def test_damaged_history_stops_running_clients_and_new_ones(bridge: ScriptedBridge) -> None:
    path = default_history_file(bridge.identity.public_key)
    assert path is not None
    with SealedTransport(bridge.connection) as sealed, sealed.httpx2_client() as client:
        client.get(URL)
        path.write_text("damaged")
        bridge.restart_keys()
        assert client.get(URL).headers["x-blindrelay-error"] == "relay/key_unknown"
    with pytest.raises(ConfigurationError, match=r"cannot be used: .* move it away"):
        SealedTransport(bridge.connection)
    assert path.read_text() == "damaged"
    assert len(bridge.received) == 1


def change_identity(bridge: ScriptedBridge) -> IdentityKey:
    """Restarts the bridge under its next identity. Returns the old one."""
    old, bridge.identity = bridge.identity, IdentityKey(b"\x05" * 32)
    bridge.restart_keys()
    return old


@pytest.fixture
def announced(bridge: ScriptedBridge) -> ScriptedBridge:
    """A bridge that has announced its next identity to a client for a week."""
    successor = IdentityKey(b"\x05" * 32).public_key
    bridge.next_identity_hash = identity_hash(successor)
    ring = KeyRing(
        bridge.identity.public_key,
        lambda: time.time() + bridge.clock_offset,
        HistoryStore(bridge.identity.public_key, default_history_file(bridge.identity.public_key)),
    )
    for days_ago in range(7, 0, -1):
        bridge.clock_offset = -days_ago * DAY - 60
        fetched = GetKeyDirectoryResponse(directories=[bridge.directory()])
        ring.take(fetched.SerializeToString(), ring.generation)
    bridge.clock_offset = 0
    return bridge


def test_announced_change_of_identity_is_reported_once(
    announced: ScriptedBridge, caplog: pytest.LogCaptureFixture
) -> None:
    connection = announced.connection
    assert status_of(announced) == 200
    old = change_identity(announced)
    announced.next_identity_hash = b""
    with caplog.at_level(logging.WARNING):
        for _ in range(2):  # the second client finds it in the history
            with SealedTransport(connection) as sealed, sealed.httpx2_client() as client:
                assert client.get(URL).status_code == 200
    (record,) = caplog.records
    assert format_identity(old.public_key) in record.getMessage()
    assert format_identity(announced.identity.public_key) in record.getMessage()
    announced.identity = old
    announced.restart_keys()
    assert status_of(announced) == 200  # the old identity is still accepted


def test_unannounced_change_of_identity_is_refused(bridge: ScriptedBridge) -> None:
    assert status_of(bridge) == 200
    pinned = bridge.connection
    old = change_identity(bridge)
    with SealedTransport(pinned) as sealed, sealed.httpx2_client() as client:
        message = client.get(URL).json()["error"]["message"]
    for identity in (old, bridge.identity):
        assert format_identity(identity.public_key) in message
    assert "Ask the bridge's operator" in message
    assert len(bridge.received) == 1
