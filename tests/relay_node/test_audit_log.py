"""What a relay tells: nothing about one exchange, and why a bridge is down."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from blindrelay.relay_node import AuditLog, Event, Reason, ReplicaConfig
from blindrelay.serving import Address, ChannelTls
from blindrelay.serving.health import SERVICES
from blindrelay.testbed.ports import free_port
from blindrelay.v1.outer_status import OuterStatus
from tests.certificates import Certificates
from tests.patience import PATIENCE, until
from tests.relay_node.conftest import RunningRelay, StartRelay
from tests.relay_node.fake_bridge import FakeBridge
from tests.relay_node.raw_client import refusal, scrape


async def test_configured_plaintext_is_noted(bridge: FakeBridge, start_relay: StartRelay) -> None:
    relay = await start_relay(replace(bridge.config, plaintext=True), plaintext=True)
    notes = [json.loads(line) for line in relay.lines if "plaintext" in line]
    assert [note.get("replica") for note in notes] == [None, str(bridge.config.address)]
    relay = await start_relay(bridge.config)
    assert "plaintext" not in relay.events()


def test_events_name_at_most_a_configured_address_and_a_reason() -> None:
    lines: list[str] = []
    log = AuditLog(lines.append, clock=lambda: 0)
    for event in Event:
        log.event(event)
        log.event(event, Address("::1", 8490), Reason.NAME)
    log.report()
    notes = [json.loads(line) for line in lines[:-1]]
    about = ("minute", "event", "replica", "reason", "message")
    assert {tuple(note) for note in notes} == {("minute", "event", "message"), about}
    assert {note["message"] for note in notes} == {event.value for event in Event} | {Reason.NAME.value}
    assert {note.get("replica") for note in notes} == {None, "[::1]:8490"}


async def test_exchanges_leave_counts_and_nothing_of_caller_or_exchange(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    envelope = bridge.envelope()
    await relay.client.exchange(envelope, messages=[b"canary" * 40])
    await relay.client.directories()
    for wrong in (bridge.envelope(key_id=b"k" * 16), b"junk"):
        await refusal(relay.client.exchange(wrong))
    token, relay.client.token = relay.client.token, "brt_" + "x" * 43
    for _ in range(11):
        assert await refusal(relay.client.exchange(envelope)) is OuterStatus.UNAUTHENTICATED
    before = list(relay.log.lines)
    (counts,) = relay.lines[len(before) :]
    assert [json.loads(line)["event"] for line in before] == ["replica_up"], "nothing was written meanwhile"
    assert json.loads(counts) | {"minute": ""} == {
        "minute": "",
        "event": "exchanges",
        "outcomes": {"key_unknown": 10, "malformed": 10, "ok": 10, "token_unknown": 100},
        "sizes": {"16384": 10},
    }
    text = "".join(relay.lines)
    for secret in (token, "canary", bridge.identity.hex(), bridge.replica_id.hex(), "GetKeyDirectory"):
        assert secret not in text


async def why_down(start_relay: StartRelay, replica: ReplicaConfig) -> str:
    """The reason that the relay logs. A call for directories waits until it has tried."""
    relay = await start_relay(replica)
    await refusal(relay.client.directories())
    await until(lambda: "replica_down" in relay.events())
    (down,) = (json.loads(line) for line in relay.lines if "replica_down" in line)
    return str(down["reason"])


@pytest.mark.parametrize(
    ("answer", "reason"), [(None, "refused"), (b"", "closed"), (b"HTTP/1.1 400 Bad\r\n\r\n", "other")]
)
async def test_other_server_is_explained(start_relay: StartRelay, answer: bytes | None, reason: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer:
            await reader.read(10)
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
        if answer is None:
            server.close()
        assert await why_down(start_relay, ReplicaConfig(address)) == reason


async def test_unknown_name_and_untrusted_certificate_are_explained(
    start_relay: StartRelay, bridge: FakeBridge, tmp_path: Path
) -> None:
    assert await why_down(start_relay, ReplicaConfig(Address("tls-refused.invalid", 1))) == "name"
    bridge.credentials = Certificates(tmp_path / "bridge").server_credentials()
    await bridge.restart()
    replica = replace(bridge.config, tls=ChannelTls(Certificates(tmp_path / "other").ca))
    assert await why_down(start_relay, replica) == "tls"


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "token"),
        (grpc.StatusCode.UNIMPLEMENTED, "other"),
        (None, "no_directory"),
    ],
)
async def test_bridges_response_is_explained(
    start_relay: StartRelay, bridge: FakeBridge, refused: grpc.StatusCode | None, reason: str
) -> None:
    bridge.refuse_fetch, bridge.answer_fetch = refused, b"nonsense"
    assert await why_down(start_relay, bridge.config) == reason


SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


async def status(watch: Any) -> Any:
    return HealthCheckResponse.FromString(await watch.read()).status


async def check(relay: RunningRelay, request: bytes = b"") -> Any:
    method: Any = relay.client.channel.unary_unary("/grpc.health.v1.Health/Check")
    return HealthCheckResponse.FromString(await method(request)).status


async def test_health_follows_the_bridge(relay: RunningRelay, bridge: FakeBridge) -> None:
    requests = [HealthCheckRequest(service=service).SerializeToString() for service in SERVICES]
    watching: Any = relay.client.channel.unary_stream("/grpc.health.v1.Health/Watch")
    watches = [watching(request, timeout=PATIENCE) for request in requests]
    for watch in watches:
        while await status(watch) != SERVING:
            pass
    assert [await check(relay, request) for request in requests] == [SERVING, SERVING]
    await bridge.stop()
    assert [await status(watch) for watch in watches] == [NOT_SERVING, NOT_SERVING]
    assert [await check(relay, request) for request in requests] == [NOT_SERVING, NOT_SERVING]
    assert await refusal(check(relay, b"\xff\xff")) is OuterStatus.MALFORMED
    for watch in watches:
        watch.cancel()


async def test_draining_relay_is_not_serving(relay: RunningRelay, bridge: FakeBridge) -> None:
    await relay.client.directories()
    await relay.relay._drain()
    assert await check(relay) == NOT_SERVING
    await bridge.restart()
    await asyncio.sleep(0.5)
    assert await check(relay) == NOT_SERVING


async def test_calls_show_once_a_minute_and_in_tens(bridge: FakeBridge, start_relay: StartRelay) -> None:
    address = Address("127.0.0.1", free_port())
    relay = await start_relay(bridge.config, metrics=address)
    quiet = {"replicas": 1, "replicas_up": 1, "exchanges_running": 0}
    calls = [await relay.client.open(bridge.envelope()) for _ in range(12)]
    for _ in range(19):
        await relay.client.exchange(bridge.envelope())
    assert await scrape(address.port) == quiet
    relay.log.report()
    assert await scrape(address.port) == {
        **quiet,
        "exchanges_running": 10,
        'exchanges_total{outcome="ok"}': 10,
    }
    for call in calls:
        call.cancel()
