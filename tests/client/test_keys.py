"""Which keys the client seals to, when it seals again, and what the key history tells a later process."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from blindrelay.client import ConfigurationError, SealedTransport, TimedOutError
from blindrelay.client.history_store import HistoryStore, default_history_file
from blindrelay.client.key_ring import KeyRing
from blindrelay.sealing import SealingKey
from blindrelay.trust import IdentityKey, format_identity, identity_hash
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.outer_status import OuterStatus
from tests.patience import PATIENCE, wait_for

from ..trust.replicas import DAY
from .conftest import URL
from .scripted_bridge import Received, Responder, ScriptedBridge, until

ERROR = "x-blindrelay-error"
SUCCESSOR = IdentityKey(b"\x05" * 32)


def message_in(response: httpx2.Response) -> str:
    return str(response.json()["error"]["message"])


def test_restarted_bridge_is_not_noticed(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    """Except where the body has gone and cannot be sent again."""
    client.get(URL)
    bridge.restart_keys()
    assert client.post(URL, json={"a": 1}).status_code == 200
    assert (bridge.calls, len(bridge.received)) == (3, 2)
    bridge.restart_keys()
    assert client.post(URL, content=iter([b"once"])).headers[ERROR] == "relay/key_unknown"
    assert len(bridge.received) == 2


@pytest.mark.usefixtures("no_restart")
def test_feigned_restart_gets_no_second_run(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    """One replica runs the exchange, its response is hidden, and only another's directory is served."""

    async def run_and_deny(_: Received, respond: Responder) -> None:
        bridge.restart_keys()
        bridge.starts -= 1  # another replica, which did not start since
        bridge.uptime = 3_600
        await respond.context.abort(*OuterStatus.KEY_UNKNOWN.value)

    bridge.answer = run_and_deny
    assert client.post(URL, json={"a": 1}).headers[ERROR] == "relay/key_unknown"
    assert len(bridge.received) == bridge.calls == 1


def test_directories_are_fetched_once_for_many(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    with ThreadPoolExecutor(16) as threads:
        statuses = list(threads.map(lambda _: client.get(URL).status_code, range(64)))
    assert statuses == [200] * 64
    assert bridge.directory_requests == 1


def test_waiting_exchanges_share_one_directory_fetch(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    bridge.refuse_directories = OuterStatus.OVERLOADED
    assert client.get(URL).status_code == 429  # it is connected: that has the same timeout
    bridge.refuse_directories, stalled = None, threading.Event()
    bridge.substitute = lambda _: until(stalled)

    def fail(_: int) -> None:
        with pytest.raises(TimedOutError, match="no key directory") as raised:
            client.get(URL, timeout=httpx2.Timeout(PATIENCE, connect=0.5))
        assert isinstance(raised.value, httpx2.ConnectTimeout)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(fail, range(4)))
    stalled.set()
    assert bridge.directory_requests == 2


def test_missing_directory_means_that_no_bridge_is_up(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    bridge.substitute = lambda response: response.ClearField("directories")
    with pytest.raises(httpx2.ConnectError, match="no bridge is up"):
        client.get(URL)
    assert bridge.calls == 0


@pytest.mark.parametrize(("offset", "message"), [(3_600, "clock is behind"), (-3_600, "clock is ahead")])
def test_clock_is_compared(offset: int, message: str, bridge: ScriptedBridge, client: httpx2.Client) -> None:
    bridge.clock_offset = offset
    assert message in message_in(client.get(URL))
    assert bridge.calls == 0


def test_two_restarts_in_a_row_are_an_error(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    bridge.substitute = lambda _: bridge.restart_keys()  # every directory is out of date when it arrives
    assert client.get(URL).headers[ERROR] == "relay/key_unknown"
    assert (bridge.calls, bridge.received) == (2, [])


def test_bad_directory_after_sending_is_a_relay_error(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    client.get(URL)
    bridge.refuse, bridge.clock_offset = OuterStatus.KEY_UNKNOWN, -3_600
    assert client.get(URL).headers[ERROR] == "relay/key_unknown"


@pytest.mark.usefixtures("no_restart")
def test_expired_key_that_is_listed_is_not_superseded(bridge: ScriptedBridge) -> None:
    """A relay cannot get a second attempt by waiting for the end of a key."""
    skew = [0]
    sealed = SealedTransport(bridge.connection, clock=lambda: time.time() + skew[0])
    with sealed.httpx2_client() as client:
        client.get(URL)
        bridge.refuse = OuterStatus.KEY_UNKNOWN
        skew[0] = bridge.clock_offset = 7_200 - 30
        bridge.substitute = lambda _: skew.__setitem__(0, 7_300)
        assert client.get(URL).headers[ERROR] == "relay/key_unknown"
    assert bridge.calls == 2


@pytest.mark.parametrize("refusal", [OuterStatus.LEDGER_UNAVAILABLE, OuterStatus.UNAUTHENTICATED])
def test_only_a_bridge_is_waited_for(
    refusal: OuterStatus, bridge: ScriptedBridge, client: httpx2.Client
) -> None:
    """The program's next attempt may take another relay."""
    client.get(URL)
    bridge.restart_keys()
    bridge.refuse_directories = refusal
    before = bridge.directory_requests
    assert client.get(URL).headers[ERROR] == "relay/key_unknown"
    assert bridge.directory_requests == before + 1


def test_bridge_that_starts_again_is_waited_for(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    client.get(URL)
    bridge.restart_keys()
    bridge.refuse_directories = OuterStatus.BRIDGE_UNAVAILABLE
    before = bridge.directory_requests
    with ThreadPoolExecutor(1) as elsewhere:
        response = elsewhere.submit(client.get, URL)
        wait_for(lambda: bridge.directory_requests >= before + 2)
        bridge.refuse_directories = None
        assert response.result().status_code == 200


def test_fork_is_noticed_by_this_process_and_later(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    client.get(URL)
    bridge.key, bridge.sequence = SealingKey.generate(bridge.key.not_before, bridge.key.not_after), 0
    assert client.get(URL).headers[ERROR] == "relay/key_unknown"
    calls = bridge.calls
    for _ in range(2):
        with bridge.client() as later:
            for each in (client, later):
                response = each.get(URL)
                assert response.headers[ERROR] == "client/key_trust"
                assert "two different key directories" in message_in(response)
    assert len(SealedTransport(bridge.connection).proofs) == 1
    assert (bridge.calls, len(bridge.received)) == (calls, 1)


def test_history_off_writes_nothing(bridge: ScriptedBridge, state: Path) -> None:
    for _ in range(2):
        bridge.sequence = 0
        with bridge.client("&history=off") as client:
            assert client.get(URL).status_code == 200
    assert not state.exists()


def test_damaged_history_stops_running_and_new_clients(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    path = default_history_file(bridge.identity.public_key)
    assert path is not None
    client.get(URL)
    path.write_text("damaged")
    bridge.restart_keys()
    assert client.get(URL).headers[ERROR] == "relay/key_unknown"
    with pytest.raises(ConfigurationError, match=r"cannot be used: .* move it away"):
        bridge.client()
    assert path.read_text() == "damaged"
    assert len(bridge.received) == 1


def announce_for_a_week(bridge: ScriptedBridge) -> None:
    """To a client on this machine."""
    bridge.next_identity_hash = identity_hash(SUCCESSOR.public_key)
    pinned = bridge.identity.public_key
    history = HistoryStore(pinned, default_history_file(pinned))
    ring = KeyRing(pinned, lambda: time.time() + bridge.clock_offset, history)
    for days_ago in range(7, -1, -1):
        bridge.clock_offset = -days_ago * DAY - 60
        fetched = GetKeyDirectoryResponse(directories=[bridge.directory()])
        ring.take(fetched.SerializeToString(), ring.generation)
    bridge.clock_offset, bridge.next_identity_hash = 0, b""


@pytest.mark.parametrize("is_announced", [True, False])
def test_change_of_identity_is_reported_once_and_refused_unless_announced(
    is_announced: bool, bridge: ScriptedBridge, caplog: pytest.LogCaptureFixture
) -> None:
    old, pinned = bridge.identity, bridge.connection
    identities = [format_identity(each.public_key) for each in (old, SUCCESSOR)]
    if is_announced:
        announce_for_a_week(bridge)
    bridge.identity = SUCCESSOR
    bridge.restart_keys()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):  # the second client finds it in the history
            with SealedTransport(pinned).httpx2_client() as client:
                response = client.get(URL)
    assert (response.status_code, len(bridge.received)) == ((200, 2) if is_announced else (403, 0))
    said = [each.getMessage() for each in caplog.records] if is_announced else [message_in(response)]
    assert [identity in said[0] for identity in identities] == [True, True]
    assert len(said) == 1
    assert is_announced or "Ask the bridge's operator" in said[0]
    bridge.identity = old
    bridge.restart_keys()
    with bridge.client() as client:
        assert client.get(URL).status_code == 200  # the old identity is still accepted
