"""What a relay writes down: its whole log, in which no line is about an exchange or comes because of one."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
import trustme

from blindrelay.relay_node import AuditLog, Event, Reason, ReplicaConfig
from blindrelay.serving import Address, ChannelTls

if TYPE_CHECKING:
    from tests.relay_node.conftest import FakeBridge, RunningRelay, StartRelay


async def test_allowed_plaintext_is_noted(bridge: FakeBridge, start_relay: StartRelay) -> None:
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
    assert {tuple(note) for note in notes} == {
        ("minute", "event", "message"),
        ("minute", "event", "replica", "reason", "message"),
    }
    assert {note["message"] for note in notes} == {event.value for event in Event} | {Reason.NAME.value}
    assert {note.get("replica") for note in notes} == {None, "[::1]:8490"}


async def test_exchanges_leave_counts_and_nothing_of_caller_or_exchange(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    envelope = bridge.envelope()
    await relay.client.exchange(envelope, messages=[b"canary" * 40])
    await relay.client.directories()
    for wrong in (bridge.envelope(key_id=b"k" * 16), b"junk"):
        with pytest.raises(grpc.aio.AioRpcError):
            await relay.client.exchange(wrong)
    token, relay.client.token = relay.client.token, "brt_" + "x" * 43
    for _ in range(20):
        with pytest.raises(grpc.aio.AioRpcError):
            await relay.client.exchange(envelope)
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


@asynccontextmanager
async def listening(answer: bytes | None) -> AsyncIterator[ReplicaConfig]:
    """A server that is no bridge: it closes each connection, after a response if there is one."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is not None:
            await reader.read(10)
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield ReplicaConfig(Address("127.0.0.1", server.sockets[0].getsockname()[1]))


async def why_down(start_relay: StartRelay, replica: ReplicaConfig) -> str:
    """The reason that the relay gives; asking for directories waits until it has tried."""
    relay = await start_relay(replica)
    with pytest.raises(grpc.aio.AioRpcError):
        await relay.client.directories()
    async with asyncio.timeout(20):
        while not (down := [line for line in relay.lines if "replica_down" in line]):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return str(json.loads(down[0])["reason"])


async def test_a_port_without_a_listener_is_refused(start_relay: StartRelay) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert await why_down(start_relay, ReplicaConfig(Address("127.0.0.1", port))) == "refused"


async def test_an_unknown_name_is_told(start_relay: StartRelay) -> None:
    assert await why_down(start_relay, ReplicaConfig(Address("tls-refused.invalid", 1))) == "name"


@pytest.mark.parametrize(("answer", "reason"), [(None, "closed"), (b"HTTP/1.1 400 Bad\r\n\r\n", "other")])
async def test_what_is_no_bridge_is_told(start_relay: StartRelay, answer: bytes | None, reason: str) -> None:
    async with listening(answer) as replica:
        assert await why_down(start_relay, replica) == reason


async def test_an_untrusted_certificate_is_told(
    start_relay: StartRelay, bridge: FakeBridge, tmp_path: Path
) -> None:
    ca, other = trustme.CA(), trustme.CA()
    certificate = ca.issue_cert("127.0.0.1")
    chain = certificate.cert_chain_pems[0].bytes()
    bridge.credentials = grpc.ssl_server_credentials([(certificate.private_key_pem.bytes(), chain)])
    await bridge.stop()
    await bridge.start()
    other.cert_pem.write_to_path(tmp_path / "ca.pem")
    replica = replace(bridge.config, tls=ChannelTls(tmp_path / "ca.pem"))
    assert await why_down(start_relay, replica) == "tls"


@pytest.mark.parametrize(
    ("code", "reason"), [(grpc.StatusCode.UNAUTHENTICATED, "token"), (grpc.StatusCode.UNIMPLEMENTED, "other")]
)
async def test_a_bridges_status_is_told(
    start_relay: StartRelay, bridge: FakeBridge, code: grpc.StatusCode, reason: str
) -> None:
    bridge.refuse_fetch = code
    assert await why_down(start_relay, bridge.config) == reason


async def test_a_response_that_is_no_directory_is_told(start_relay: StartRelay, bridge: FakeBridge) -> None:
    bridge.answer_fetch = b"nonsense"
    assert await why_down(start_relay, bridge.config) == "no_directory"
