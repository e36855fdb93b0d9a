"""Which keys the client seals to, and when it seals again."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from blindrelay.client import SealedTransport, TimedOutError
from blindrelay.v1.outer_status import OuterStatus

from .conftest import URL, Received, Responder, ScriptedBridge, until


def test_restarted_bridge_is_not_noticed(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    with sealed.httpx2_client() as client:
        client.get(URL)
        bridge.restart_keys()
        assert client.post(URL, json={"a": 1}).status_code == 200
    assert bridge.calls == 3
    assert len(bridge.received) == 2


@pytest.mark.usefixtures("no_restart")
def test_feigned_restart_gets_no_second_run(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    """One replica runs the exchange, its response is hidden, and only another's directory is served."""

    async def run_and_deny(_: Received, respond: Responder) -> None:
        bridge.restart_keys()
        bridge.starts -= 1  # another replica, which did not start since
        bridge.uptime = 3_600
        await respond.context.abort(*OuterStatus.KEY_UNKNOWN.value)

    bridge.answer = run_and_deny
    with sealed.httpx2_client() as client:
        response = client.post(URL, json={"a": 1})
    assert response.headers["x-blindrelay-error"] == "relay/key_unknown"
    assert len(bridge.received) == bridge.calls == 1


def test_consumed_body_is_not_sent_twice(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    with sealed.httpx2_client() as client:
        client.get(URL)
        bridge.restart_keys()
        response = client.post(URL, content=iter([b"once"]))
    assert response.headers["x-blindrelay-error"] == "relay/key_unknown"
    assert len(bridge.received) == 1


def test_directories_are_fetched_once_for_many_exchanges(
    bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    with sealed.httpx2_client() as client, ThreadPoolExecutor(16) as threads:
        statuses = list(threads.map(lambda _: client.get(URL).status_code, range(64)))
    assert statuses == [200] * 64
    assert bridge.directory_requests == 1


def test_missing_directory_means_that_no_bridge_is_up(
    bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    bridge.substitute = lambda response: response.ClearField("directories")
    with sealed.httpx2_client() as client, pytest.raises(httpx2.ConnectError, match="no bridge is up"):
        client.get(URL)
    assert bridge.calls == 0


@pytest.mark.parametrize(("offset", "message"), [(3_600, "clock is behind"), (-3_600, "clock is ahead")])
def test_wrong_clock_is_reported(offset: int, message: str, bridge: ScriptedBridge) -> None:
    bridge.clock_offset = offset
    with SealedTransport(bridge.connection).httpx2_client() as client:
        response = client.get(URL)
    assert message in response.json()["error"]["message"]
    assert bridge.calls == 0


def test_two_restarts_in_a_row_are_an_error(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    bridge.substitute = lambda _: bridge.restart_keys()  # every directory is out of date when it arrives
    with sealed.httpx2_client() as client:
        assert client.get(URL).headers["x-blindrelay-error"] == "relay/key_unknown"
    assert (bridge.calls, bridge.received) == (2, [])


def test_bad_directory_after_sending_is_a_relay_error(
    bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    with sealed.httpx2_client() as client:
        client.get(URL)
        bridge.refuse, bridge.clock_offset = OuterStatus.KEY_UNKNOWN, -3_600
        assert client.get(URL).headers["x-blindrelay-error"] == "relay/key_unknown"


@pytest.mark.usefixtures("no_restart")
def test_expired_key_that_is_listed_is_not_superseded(bridge: ScriptedBridge) -> None:
    """A relay cannot get a second attempt by waiting for the end of a key."""
    skew = [0]
    sealed = SealedTransport(bridge.connection, clock=lambda: time.time() + skew[0])
    with sealed.httpx2_client() as client:
        client.get(URL)
        bridge.refuse = OuterStatus.KEY_UNKNOWN
        skew[0] = bridge.clock_offset = 7_200 - 30
        original, bridge.substitute = bridge.substitute, lambda _: skew.__setitem__(0, 7_300)
        assert client.get(URL).headers["x-blindrelay-error"] == "relay/key_unknown"
        bridge.substitute = original
    assert bridge.calls == 2


def test_waiting_exchanges_share_one_directory_fetch(bridge: ScriptedBridge) -> None:
    stalled = threading.Event()
    bridge.substitute = lambda _: until(stalled)
    options = httpx2.Timeout(10, connect=0.5)
    with SealedTransport(bridge.connection).httpx2_client(timeout=options) as client:

        def fail(_: int) -> None:
            with pytest.raises(TimedOutError, match="no key directory") as raised:
                client.get(URL)
            assert isinstance(raised.value, httpx2.ConnectTimeout)

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(fail, range(4)))
        stalled.set()
    assert bridge.directory_requests == 1
