"""Replicas that end, restart, hang or lose exchanges, and new certificates: what clients get meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from blindrelay.relay_node import replica
from blindrelay.v1.outer_status import OuterStatus
from tests.certificates import Certificates
from tests.patience import PATIENCE, until
from tests.relay_node.conftest import RunningRelay, StartRelay
from tests.relay_node.fake_bridge import FakeBridge, Seen, abort
from tests.relay_node.raw_client import eventually_served, refusal


async def test_restarted_replica_is_used_with_its_new_keys_only(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    """No exchange has failed yet: the end of the connection is enough."""
    await relay.client.directories()
    before = bridge.envelope()
    await bridge.stop()
    bridge.new_keys()
    await until(lambda: not relay.relay._replicas[0]._channel.ready)
    await bridge.start()
    try:
        (directory,) = await relay.client.directories()
    except grpc.aio.AioRpcError:
        await eventually_served(relay.client, bridge.envelope)
        (directory,) = await relay.client.directories()
    assert bridge.replica_id in directory.directory
    await eventually_served(relay.client, bridge.envelope)
    seen = len(bridge.seen)
    assert await refusal(relay.client.exchange(before)) is OuterStatus.KEY_UNKNOWN
    assert len(bridge.seen) == seen


async def test_bridge_that_comes_and_goes_is_used_while_it_is_there(
    bridge: FakeBridge, start_relay: StartRelay
) -> None:
    await bridge.stop()
    relay = await start_relay(bridge.config)
    assert await refusal(relay.client.directories()) is OuterStatus.BRIDGE_UNAVAILABLE
    for _ in range(2):
        bridge.new_keys()
        await bridge.start()
        await eventually_served(relay.client, bridge.envelope)
        call = await relay.client.open(bridge.envelope())
        await bridge.stop()
        for attempt in (call.read(), relay.client.directories(), relay.client.exchange(bridge.envelope())):
            assert await refusal(attempt) is OuterStatus.BRIDGE_UNAVAILABLE
        await until(lambda: relay.events()[-1] == "replica_down")
    await bridge.start()
    events = [event for event in relay.events() if event.startswith("replica")]
    assert events[:5] == ["replica_down", *["replica_up", "replica_down"] * 2]


async def test_key_unknown_from_a_replica_causes_a_fetch(relay: RunningRelay, bridge: FakeBridge) -> None:
    await relay.client.directories()
    bridge.script = abort(*OuterStatus.KEY_UNKNOWN.value)
    fetches, stale = bridge.fetches, bridge.envelope()
    bridge.new_keys()
    assert await refusal(relay.client.exchange(stale)) is OuterStatus.KEY_UNKNOWN
    (directory,) = await relay.client.directories()
    assert bridge.replica_id in directory.directory
    assert bridge.fetches > fetches


async def test_lost_exchange_of_a_busy_bridge_does_not_end_the_others(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    """No client gets the directory until the bridge answers again. A client that has a key continues."""
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    script, bridge.script = bridge.script, abort(grpc.StatusCode.UNAVAILABLE)
    bridge.refuse_fetch = grpc.StatusCode.DEADLINE_EXCEEDED
    assert await refusal(relay.client.exchange(bridge.envelope())) is OuterStatus.BRIDGE_UNAVAILABLE
    await until(lambda: "replica_down" in relay.events())
    bridge.script = script
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    assert await refusal(relay.client.directories()) is OuterStatus.BRIDGE_UNAVAILABLE
    bridge.refuse_fetch = None
    await until(lambda: relay.events().count("replica_up") == 2)
    assert len(await relay.client.directories()) == 1


async def test_internal_error_in_reading_a_directory_does_not_stop_the_fetches(
    bridge: FakeBridge, start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: bytes) -> None:
        raise ValueError("canary")

    with monkeypatch.context() as patch:
        patch.setattr("blindrelay.relay_node.replica.read_listing", broken)
        relay = await start_relay(bridge.config)
        await until(lambda: "fault" in relay.events())
    await until(lambda: "replica_up" in relay.events())
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    assert "canary" not in "".join(relay.lines)


async def test_relays_certificate_can_be_replaced(
    bridge: FakeBridge, start_relay: StartRelay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bridge refuses a stranger's. A new one serves new exchanges, and running ones continue.

    Files that cannot be used meanwhile are logged once, and the connection stays.
    """

    async def name_in_certificate(context: Any, seen: Seen) -> None:
        while await context.read() is not grpc.aio.EOF:
            await context.write(context.auth_context()["x509_common_name"][0])

    certificates = Certificates(tmp_path)  # the bridge has another one of the CA
    bridge.script = name_in_certificate
    bridge.credentials = certificates.server_credentials(require_client_auth=True)
    await bridge.restart()
    certificates.issue("stranger", trustme.CA())
    with monkeypatch.context() as patched:
        patched.setattr(replica, "FETCH_SECONDS", 1.0)  # between two looks at the files
        relay = await start_relay(replace(bridge.config, tls=certificates.client(trusts=certificates.ca)))
        await until(lambda: "replica_down" in relay.events())
        certificates.issue("first")
        await until(lambda: "replica_up" in relay.events())
    running, unfinished = (relay.client.call(bridge.envelope()) for _ in range(2))
    for call in (running, unfinished):
        await call.write(b"x")
        assert await call.read() == b"first"
    certificates.chain.write_text("half a certif")
    await until(lambda: "certificates_unusable" in relay.events())
    assert await relay.client.exchange(bridge.envelope()) == [b"first"]
    fetches = bridge.fetches
    certificates.issue("second")
    await until(lambda: bridge.fetches > fetches)
    assert await relay.client.exchange(bridge.envelope()) == [b"second"]
    await running.write(b"x")
    assert await running.read() == b"first"
    await running.done_writing()
    assert await running.read() is grpc.aio.EOF
    assert await running.code() is grpc.StatusCode.OK
    assert [relay.events().count(event) for event in ("certificates_unusable", "replica_down")] == [1, 1]
    async with asyncio.timeout(PATIENCE):  # at the relay's end, whatever still runs on the old channel
        await relay.relay._replicas[0]._channel.close()
    unfinished.cancel()
