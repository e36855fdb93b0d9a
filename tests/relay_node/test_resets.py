"""Calls that are reset leave nothing behind, however many of them the server has seen before their reset."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

import httpx

from blindrelay.relay_node.envoy.process import ControlProcess
from blindrelay.serving import STREAMS_PER_CLIENT
from blindrelay.v1.envelope import METADATA_KEY
from tests.adversarial.h2_peer import (
    Peer,
    header_block,
    message_start,
    opening,
    peers,
    reset,
    reset_rapidly,
)
from tests.patience import PATIENCE, until
from tests.relay_node.behind_envoy import eventually
from tests.relay_node.conftest import RunningRelay, both
from tests.relay_node.fake_bridge import FakeBridge, Seen
from tests.remains import kept, left_since

CALLS: Final = 2_000


def block(relay: RunningRelay, envelope: bytes) -> bytes:
    """The header block of an exchange that is admitted."""
    fields = relay.client.metadata(envelope)
    return header_block(
        (key, value if isinstance(value, str) else base64.b64encode(value).decode()) for key, value in fields
    )


def arrived(bridge: FakeBridge, envelopes: list[bytes]) -> list[Seen]:
    """What the bridge has seen of these exchanges. It may begin with others after their reset."""
    return [seen for seen in bridge.seen if dict(seen.metadata)[METADATA_KEY] in envelopes]


async def reset_before_a_message(peer: Peer, relay: RunningRelay, bridge: FakeBridge) -> None:
    """Calls that are reset when the relay has admitted them, or Envoy has forwarded their headers."""
    envelopes = [bridge.envelope() for _ in range(STREAMS_PER_CLIENT)]
    calls = {peer.stream(): block(relay, envelope) for envelope in envelopes}
    await peer.send(*(opening(*call) for call in calls.items()))
    admission = relay.relay._admission
    await until(lambda: admission.running + len(arrived(bridge, envelopes)) == len(calls))
    await peer.send(*map(reset, calls))


async def reset_at_the_bridge(peer: Peer, relay: RunningRelay, bridge: FakeBridge) -> None:
    """Calls that are reset when the bridge has the first message of each."""
    envelopes = [bridge.envelope() for _ in range(STREAMS_PER_CLIENT)]
    calls = {peer.stream(): block(relay, envelope) for envelope in envelopes}
    for call in calls.items():
        await peer.send(opening(*call))
        await peer.pour(call[0], message_start(1, b"x"))
    await until(lambda: [seen.messages for seen in arrived(bridge, envelopes)] == [[b"x"]] * len(calls))
    await peer.send(*map(reset, calls))


async def flood(relay: RunningRelay, bridge: FakeBridge, calls: int) -> None:
    """Calls of one client, of which some are reset later than at once."""
    for some in (reset_before_a_message, reset_at_the_bridge):
        async with peers(str(relay.address), 1) as (peer,):
            await some(peer, relay, bridge)
    async with peers(str(relay.address), 1) as (peer,):
        await reset_rapidly(peer, block(relay, bridge.envelope()), calls)
        await peer.answered()


def counted(relay: RunningRelay) -> list[Any]:
    """What counts as running, or as held by somebody."""
    service = relay.relay._service
    sharing = service._sharing
    shares = (sharing._exchanges, sharing._fetches, sharing._connections, sharing._bridges)
    requests = [replica.requests for replica in relay.relay._replicas]
    held: list[Any] = [+each._held for each in (*shares, *requests)]
    held += [+sharing._calls, service._admission.running]
    if isinstance(relay.relay, ControlProcess):
        held += [relay.relay._data_plane._running, relay.relay._gate._running]  # type: ignore[attr-defined]
    return [each for each in held if each]


def open_at(bridge: FakeBridge) -> int:
    """Exchanges that the bridge takes for running."""
    return sum(not (seen.cancelled or seen.half_closed) for seen in bridge.seen)


async def active_in_envoy(relay: RunningRelay) -> dict[str, int]:
    """The requests that Envoy takes for running."""
    assert isinstance(relay.relay, ControlProcess)
    admin = httpx.AsyncHTTPTransport(uds=str(relay.relay.bootstrap.parent / "admin.sock"))
    async with httpx.AsyncClient(transport=admin, timeout=PATIENCE) as client:
        shown = await client.get("http://envoy/stats?format=json&filter=_rq_active$")
    stats = json.loads(shown.text)["stats"]
    assert {"http.clients.downstream_rq_active", "cluster.bridge-0.upstream_rq_active"} <= {
        each["name"] for each in stats
    }
    return {each["name"]: each["value"] for each in stats if each["value"] and "admin" not in each["name"]}


@both
async def test_calls_that_are_reset_leave_nothing_behind(
    relay: RunningRelay, bridge: FakeBridge, data_plane: str
) -> None:
    """Neither in counts, nor at the bridge, nor in memory; and each was counted as cancelled."""
    await flood(relay, bridge, STREAMS_PER_CLIENT)
    await until(lambda: not open_at(bridge) and not counted(relay))
    before = kept()
    await flood(relay, bridge, CALLS)
    await until(lambda: not open_at(bridge) and not counted(relay))
    await until(lambda: not left_since(before))
    if data_plane == "envoy":

        async def quiet() -> bool:
            return not await active_in_envoy(relay)

        await eventually(quiet)
    assert relay.outcomes().keys() <= {"cancelled", "malformed"}, "the latter without a message"
    assert sum(relay.outcomes().values()) >= 4 * STREAMS_PER_CLIENT
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
