"""What a relay writes down: the whole record, and nothing beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc
import pytest

from blindrelay.relay_node import Event, Records
from blindrelay.serving import Address

if TYPE_CHECKING:
    from tests.relay_node.conftest import FakeBridge, RunningRelay, StartRelay


def recorded(*exchange: object) -> dict[str, object]:
    lines: list[str] = []
    Records(lines.append, clock=lambda: 1_700_000_059.9).exchange(*exchange)  # type: ignore[arg-type]
    (line,) = lines
    record = json.loads(line)
    assert isinstance(record, dict)
    return record


async def test_plaintext_that_was_allowed_is_written_down(
    bridge: FakeBridge, start_relay: StartRelay
) -> None:
    relay = await start_relay(replace(bridge.config, plaintext=True), plaintext=True)
    records = [json.loads(line) for line in relay.lines if "plaintext" in line]
    assert [record.get("replica") for record in records] == [None, str(bridge.config.address)]
    relay = await start_relay(bridge.config)
    assert "plaintext" not in relay.events()


def test_an_exchange_is_these_fields_and_no_more() -> None:
    assert recorded("ok", 3_001, 70_000, 4.2) == {
        "minute": "2023-11-14T22:14Z",
        "event": "exchange",
        "outcome": "ok",
        "request_bytes": 4_096,
        "response_bytes": 131_072,
        "seconds": 10,
    }


@pytest.mark.parametrize(("size", "shown"), [(0, 0), (1, 1), (2, 2), (3, 4), (4_096, 4_096), (4_097, 8_192)])
def test_sizes_are_rounded_up_to_a_power_of_two(size: int, shown: int) -> None:
    assert recorded("ok", size, size, 1)["request_bytes"] == shown
    assert recorded("ok", size, size, 1)["response_bytes"] == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.001, 1), (1.01, 10), (59, 60), (3_601, 21_600), (21_601, None)]
)
def test_durations_are_rounded_up_to_a_class(seconds: float, shown: int | None) -> None:
    assert recorded("ok", 1, 1, seconds)["seconds"] == shown


def test_events_name_at_most_a_configured_address() -> None:
    lines: list[str] = []
    records = Records(lines.append, clock=lambda: 0)
    for event in Event:
        records.event(event)
        records.event(event, Address("::1", 8490))
    fields = [set(json.loads(line)) for line in lines]
    assert fields == [{"minute", "event"}, {"minute", "event", "replica"}] * len(Event)
    assert json.loads(lines[1])["replica"] == "[::1]:8490"


async def test_a_relays_lines_say_nothing_of_caller_or_exchange(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    envelope = bridge.envelope()
    await relay.client.exchange(envelope, messages=[b"canary" * 40])
    await relay.client.directories()
    for wrong in (bridge.envelope(key_id=b"k" * 16), b"junk"):
        with pytest.raises(grpc.aio.AioRpcError):
            await relay.client.exchange(wrong)
    token, relay.client.token = relay.client.token, "brt_" + "x" * 43
    with pytest.raises(grpc.aio.AioRpcError):
        await relay.client.exchange(envelope)
    exchanges = [line for line in map(json.loads, relay.lines) if line["event"] == "exchange"]
    assert [line["outcome"] for line in exchanges] == ["ok", "key_unknown", "malformed", "token_unknown"]
    assert exchanges[0]["request_bytes"] == exchanges[0]["response_bytes"] == 256
    for line in exchanges:
        assert set(line) == {"minute", "event", "outcome", "request_bytes", "response_bytes", "seconds"}
    text = "".join(relay.lines)
    for secret in (token, "canary", bridge.identity.hex(), bridge.replica_id.hex(), "GetKeyDirectory"):
        assert secret not in text
    assert {line["event"] for line in map(json.loads, relay.lines)} == {"exchange", "replica_up"}
