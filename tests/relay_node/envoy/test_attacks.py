"""What a hostile client sends to Envoy: past its admission, and past the control process's count."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any, Final

import pytest

from blindrelay.relay_node.envoy.bootstrap import KEPT_HEADERS, all_but
from blindrelay.serving import authorization
from blindrelay.serving.leases import base64url, new_lease_key, sign_lease
from blindrelay.v1.channel import Metadata
from blindrelay.v1.envelope import METADATA_KEY, ROUTING_KEY, routing_text
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.grpc_profile import EXCHANGE_METHOD, KEY_DIRECTORY_METHOD
from blindrelay.v1.outer_status import OuterStatus
from tests.adversarial.h2_peer import Peer, header_block, message_start, opening, peers, reset
from tests.patience import until
from tests.relay_node.conftest import Billed, RunningRelay
from tests.relay_node.fake_bridge import FakeBridge, echo
from tests.relay_node.raw_client import finish, refusal

pytestmark = pytest.mark.parametrize("data_plane", ["envoy"], indirect=True)

MIB: Final = 2**20
CLAIMS_OF_ENVOY: Final = (
    *(("blindrelay-account", "somebody"), ("blindrelay-units", "1000000"), ("blindrelay-rate", "9/9")),
    *(("blindrelay-address", "127.0.0.1"), ("x-envoy-original-path", EXCHANGE_METHOD)),
)


def keyed(envelope: bytes) -> list[tuple[str, str | bytes]]:
    """What makes Envoy look for a bridge."""
    return [(METADATA_KEY, envelope), (ROUTING_KEY, routing_text(Envelope.FromString(envelope).key_id))]


@pytest.mark.parametrize("more", [(), CLAIMS_OF_ENVOY], ids=["nothing", "claims of Envoy's own"])
async def test_no_method_of_a_bridge_is_open_to_a_stranger(
    relay: RunningRelay, bridge: FakeBridge, more: Metadata
) -> None:
    """Envoy checks the leases of exchanges alone, and nothing else goes to a bridge."""
    metadata = [*keyed(bridge.envelope()), *more]
    for method in (EXCHANGE_METHOD, KEY_DIRECTORY_METHOD):
        call: Any = relay.client.channel.unary_unary(method)
        before = bridge.fetches
        assert await refusal(call(b"", metadata=metadata)) in (
            OuterStatus.UNAUTHENTICATED,
            OuterStatus.LEASE_UNKNOWN,
        )
        assert bridge.fetches == before
    for method in (EXCHANGE_METHOD + "/", EXCHANGE_METHOD.lower(), "/grpc.health.v1.Health/Check2"):
        other: Any = relay.client.channel.unary_unary(method)
        assert await refusal(other(b"", metadata=metadata)) is None
    assert bridge.seen == []


async def test_no_other_method_of_a_bridge_is_open_to_a_client(billed: Billed, bridge: FakeBridge) -> None:
    """Not even with a good lease, key and envelope."""
    metadata = [authorization(billed.leased.token), *keyed(bridge.envelope())]
    before = bridge.fetches
    for method in (KEY_DIRECTORY_METHOD, "/blindrelay.v1.SettlementService/Settle"):
        call: Any = billed.leased.channel.unary_unary(method)
        await refusal(call(b"", metadata=metadata))
    assert (bridge.fetches, bridge.seen) == (before, [])


@pytest.mark.parametrize(
    "shown", ["{} more", "{};", "{}=", "{}, {}", "{},{}", "{} {}", "Basic x, {}", "bearer {lease}"]
)
async def test_lease_among_other_words_buys_nothing(billed: Billed, bridge: FakeBridge, shown: str) -> None:
    """The reader of lines would not find it, so the ledger would learn of no start."""
    lease = billed.leased.token
    value = shown.format(f"Bearer {lease}", f"Bearer {lease}", lease=lease)
    call: Any = billed.relay.client.start(metadata=[*keyed(bridge.envelope()), ("authorization", value)])
    assert await refusal(call.read()) is OuterStatus.LEASE_UNKNOWN
    assert bridge.seen == []


@pytest.mark.parametrize("odd", [" ", ";", "=", "==", "-", "_", "\t", ",", "\x80", "%20"])
async def test_envelope_that_cannot_be_read_from_a_line_starts_nothing(
    relay: RunningRelay, bridge: FakeBridge, odd: str
) -> None:
    """And breaks off no call of another client: a bridge's gRPC would not stand it."""
    text = base64.b64encode(bridge.envelope()).decode()
    async with peers(str(relay.address), 1) as (peer,):
        for place in (0, 4, 50):
            stream = peer.stream()
            shown = block(relay, bridge.envelope(), text=text[:place] + odd + text[place:])
            await peer.send(opening(stream, shown))
            await peer.pour(stream, message_start(1, b"x"))
        await peer.answered()
        assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    assert len([seen for seen in bridge.seen if METADATA_KEY in dict(seen.metadata)]) == 1


@pytest.mark.parametrize("spelling", ["padded", "spaced", "with other last bits"])
async def test_lease_in_another_spelling_buys_nothing(
    billed: Billed, bridge: FakeBridge, spelling: str
) -> None:
    """Envoy's filter reads it, but the reader of lines does not."""
    lease = billed.leased.token
    other = chr(ord(lease[-1]) + 1)
    billed.leased.token = {
        "padded": f"{lease}=",
        "spaced": f"{lease[:-5]} {lease[-5:]}",
        "with other last bits": lease[:-1] + other,
    }[spelling]
    assert await refusal(billed.leased.exchange(bridge.envelope())) is OuterStatus.LEASE_UNKNOWN
    assert bridge.seen == []


async def test_two_leases_are_none(billed: Billed, bridge: FakeBridge) -> None:
    extra = (authorization(billed.leased.token),)
    call = billed.leased.call(bridge.envelope(), extra=extra)
    assert await refusal(call.read()) is OuterStatus.LEASE_UNKNOWN
    assert bridge.seen == []


@pytest.mark.parametrize("change", ["of an earlier process", "expired", "forged", "of no algorithm"])
async def test_lease_that_is_not_good_is_unknown(billed: Billed, bridge: FakeBridge, change: str) -> None:
    """Whatever is wrong with it, so that the client asks for another one."""
    ledger, account = billed.ledger, billed.account
    node = next(iter(ledger._streams))
    plain = base64url(b'{"alg":"none","typ":"JWT"}')
    claims = billed.leased.token.split(".")[1]
    billed.leased.token = {
        "of an earlier process": ledger.lease(account, bytes(16)),
        "expired": ledger.lease(account, node, exp=1),
        "forged": sign_lease({"sub": account.name, "aud": base64url(node)}, new_lease_key()),
        "of no algorithm": f"{plain}.{claims}.",
    }[change]
    assert await refusal(billed.leased.exchange(bridge.envelope())) is OuterStatus.LEASE_UNKNOWN
    assert bridge.seen == []


@pytest.mark.parametrize("change", ["a field", "nothing", "twice"])
async def test_envelope_that_envoy_cannot_check_is_refused(
    relay: RunningRelay, bridge: FakeBridge, change: str
) -> None:
    """By the control process."""
    good = bridge.envelope()
    lease, _, key = relay.client.metadata(good)
    shown = {"a field": [good + b"\xa0\x06\x01"], "nothing": [b""], "twice": [good, good]}[change]
    metadata: Any = [lease, *((METADATA_KEY, envelope) for envelope in shown), key]
    assert await refusal(relay.client.start(metadata=metadata).read()) is OuterStatus.MALFORMED
    assert bridge.seen == []


async def test_headers_of_envoys_own_change_nothing(billed: Billed, bridge: FakeBridge) -> None:
    extra = (
        *CLAIMS_OF_ENVOY,
        *(("x-envoy-upstream-rq-timeout-ms", "1"), ("x-envoy-max-retries", "3"), ("x-request-id", "a")),
    )
    envelope = bridge.envelope()
    call = await billed.leased.open(envelope, extra=extra)
    await finish(call)
    assert {key for key, _ in bridge.seen[0].metadata} - {"user-agent"} == {METADATA_KEY}
    await until(lambda: [line.start.envelope for line in billed.ledger.starts()] == [envelope])
    start = billed.ledger.starts()[0].start
    assert billed.ledger.leases[start.lease_id] is billed.account


async def test_what_a_grpc_library_can_decompress_goes_no_further(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    """Nothing is compressed, and an open stream keeps each header that Envoy keeps."""
    key = "grpc-accept-encoding"
    assert re.fullmatch(all_but(KEPT_HEADERS), key)
    async with peers(str(relay.address), 1) as (peer,):
        stream = peer.stream()
        await peer.send(opening(stream, block(relay, bridge.envelope())))
        await peer.pour(stream, message_start(1, b"x"))
        await peer.until(lambda: ":status" in peer.names)
    assert bridge.seen
    assert peer.names.isdisjoint({key})


async def test_key_that_lies_is_counted_all_the_same(billed: Billed, bridge: FakeBridge) -> None:
    """The envelope names a key that nobody holds. A real bridge would refuse it."""
    envelope = bridge.envelope(key_id=b"k" * 16)
    lie = (ROUTING_KEY, routing_text(Envelope.FromString(bridge.envelope()).key_id))
    metadata: list[Any] = [authorization(billed.leased.token), (METADATA_KEY, envelope), lie]
    call: Any = billed.leased.start(metadata=metadata)
    await call.write(b"x")
    await call.read()
    await call.done_writing()
    await call.code()
    await until(lambda: len(billed.ledger.ends()) == 1)
    assert [line.start.envelope for line in billed.ledger.starts()] == [envelope]


async def test_repeated_envelope_ends_no_exchange(billed: Billed, bridge: FakeBridge) -> None:
    """Otherwise each exchange that runs could give its units back, and leave its place to another one."""
    repeated = bridge.envelope()
    running = await billed.leased.open(repeated)
    refused = billed.relay.client.start(metadata=keyed(repeated))
    assert await refusal(refused.read()) is OuterStatus.LEASE_UNKNOWN
    await billed.leased.exchange(bridge.envelope())
    await until(lambda: bool(billed.ledger.ends()))
    assert [line.end.start_sequence for line in billed.ledger.ends()] == [2]
    await finish(running)
    await until(lambda: len(billed.ledger.ends()) == 2)
    assert [line.end.outcome for line in billed.ledger.ends()] == ["ok", "ok"]


def block(relay: RunningRelay, envelope: bytes, text: str | None = None) -> bytes:
    """An exchange's headers, its envelope padded, as some libraries write it, or as this `text`."""
    encoded = text or base64.b64encode(envelope).decode()
    key = routing_text(Envelope.FromString(envelope).key_id)
    lease = authorization(relay.client.lease)
    return header_block([lease, (METADATA_KEY, encoded), (ROUTING_KEY, key)])


async def test_padded_envelope_is_forwarded_and_counted(relay: RunningRelay, bridge: FakeBridge) -> None:
    envelope = bridge.envelope()
    assert base64.b64encode(envelope).endswith(b"=")
    async with peers(str(relay.address), 1) as (peer,):
        await send_byte_by_byte(peer, block(relay, envelope))
        await until(lambda: bool(bridge.seen))
        await until(lambda: bridge.seen[0].messages == [bytes(500)])
    assert await relay.ended(1) == {"cancelled": 1}


async def send_byte_by_byte(peer: Peer, headers: bytes) -> None:
    """A message in as many DATA frames as it has bytes."""
    stream = peer.stream()
    await peer.send(opening(stream, headers))
    for byte in message_start(500, bytes(500)):
        await peer.pour(stream, bytes([byte]))


async def test_floods_leave_room_for_others(relay: RunningRelay, bridge: FakeBridge) -> None:
    """Huge and compressed metadata, streams that are reset at once, and answers that nobody reads."""
    before = resident(relay)
    async with peers(str(relay.address), 2) as (bomb, resets):
        indexed = header_block([("x", 4_000 * "a")])[-4_004:]
        await bomb.send(opening(bomb.stream(), header_block() + indexed + 16_000 * b"\xbe"))
        for _ in range(5_000):
            stream = resets.stream()
            await resets.send(opening(stream, block(relay, bridge.envelope())), reset(stream))
        await resets.answered()
        assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    assert resident(relay) - before < 100 * MIB


async def test_clients_that_do_not_read_stop_no_other(relay: RunningRelay, bridge: FakeBridge) -> None:
    """On the same connection to the bridge, which holds what they leave."""
    bridge.script = pour
    before = resident(relay)
    no_window = peers(str(relay.address), 1, settings={4: 0})
    async with no_window as (peer,):
        for _ in range(50):
            stream = peer.stream()
            await peer.send(opening(stream, block(relay, bridge.envelope())))
            await peer.pour(stream, message_start(1, b"x"))
        await until(lambda: len(bridge.seen) == 50)
        await until(lambda: all(seen.messages for seen in bridge.seen))
        bridge.script = echo
        for _ in range(20):
            assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
        assert resident(relay) - before < 100 * MIB


async def pour(context: Any, seen: Any) -> None:
    """A bridge that answers 16 MiB, if somebody takes them."""
    seen.messages.append(await context.read())
    for _ in range(256):
        await context.write(bytes(65_536))


def resident(relay: RunningRelay) -> int:
    """Bytes of Envoy's memory."""
    assert relay.envoy is not None
    status = Path(f"/proc/{relay.envoy.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1_024
