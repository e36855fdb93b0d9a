"""Which calls a relay admits, and which replica gets them. Clients get the directories of all replicas."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blindrelay.relay_node.directory import DirectoryFormatError, read_listing
from blindrelay.serving import STREAMS_PER_CLIENT, authorization
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.grpc_profile import KEY_DIRECTORY_METHOD
from blindrelay.v1.outer_status import OuterStatus
from tests.certificates import Certificates
from tests.patience import until
from tests.relay_node.conftest import RunningRelay, StartRelay, both
from tests.relay_node.fake_bridge import FakeBridge, Seen, abort, new_key
from tests.relay_node.raw_client import refusal


@pytest.mark.parametrize("shown", ["none", "unknown", "two"])
async def test_call_without_one_known_token_is_refused(
    relay: RunningRelay, bridge: FakeBridge, shown: str
) -> None:
    """At once: anybody could send half a request, and the relay would keep it until the other half comes."""
    known, unknown = authorization(relay.client.token), authorization("brt_" + "A" * 43)
    metadata = {"none": [], "unknown": [unknown], "two": [known, known]}[shown]
    exchange = relay.client.start(metadata=[*metadata, (METADATA_KEY, bridge.envelope())])
    half: Any = relay.client.channel.stream_unary(KEY_DIRECTORY_METHOD)
    whole: Any = relay.client.channel.unary_unary(KEY_DIRECTORY_METHOD)
    for call in (exchange.read(), half(metadata=metadata), whole(b"", metadata=metadata)):
        assert await refusal(call) is OuterStatus.UNAUTHENTICATED
    assert bridge.seen == []


async def test_call_without_one_valid_envelope_is_malformed(relay: RunningRelay, bridge: FakeBridge) -> None:
    good = bridge.envelope()
    another_version = Envelope.FromString(good)
    another_version.version = 2
    unknown_field = good + b"\xa0\x06\x01"
    for envelopes in (
        (),
        (good, good),
        (b"\xff",),
        (unknown_field,),
        (another_version.SerializeToString(deterministic=True),),
    ):
        assert await refusal(relay.client.exchange(*envelopes)) is OuterStatus.MALFORMED
    assert bridge.seen == []
    assert await relay.client.exchange(good) == [b"hello"]


@both
async def test_connection_has_a_limited_number_of_streams(relay: RunningRelay, bridge: FakeBridge) -> None:
    """More wait in the client, or HTTP/2 refuses them. The bridge never sees them."""
    release = asyncio.Event()

    async def script(context: Any, seen: Seen) -> None:
        await release.wait()
        await context.write(await context.read())

    bridge.script = script
    await relay.client.directories()  # it also brings the connection's limits
    exchanges = [relay.client.exchange(bridge.envelope()) for _ in range(STREAMS_PER_CLIENT + 30)]
    results = asyncio.gather(*exchanges, return_exceptions=True)
    await until(lambda: len(bridge.seen) == STREAMS_PER_CLIENT)
    await asyncio.sleep(0.3)
    assert len(bridge.seen) == STREAMS_PER_CLIENT
    release.set()
    assert (await results).count([b"hello"]) >= STREAMS_PER_CLIENT


@both
async def test_exchange_goes_to_the_replica_that_holds_its_key(
    bridge: FakeBridge, second_bridge: FakeBridge, start_relay: StartRelay
) -> None:
    """And the directories of both have their exact signed bytes."""
    second_bridge.identity = bridge.identity
    relay = await start_relay(bridge.config, second_bridge.config)
    for served, source in zip(await relay.client.directories(), (bridge, second_bridge), strict=True):
        original = source.directory()
        for part in ("delegation", "signature", "delegation_signature"):
            assert getattr(served, part) == getattr(original, part)
        assert source.configs[0] in served.directory
        assert source.replica_id in served.directory
    for target in (second_bridge, bridge, second_bridge):
        await relay.client.exchange(target.envelope())
    assert (len(bridge.seen), len(second_bridge.seen)) == (1, 2)


@both
async def test_key_published_since_the_last_fetch_is_found(
    relay: RunningRelay, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blindrelay.relay_node.replica.STALE_SECONDS", 0)
    await relay.client.directories()
    bridge.configs.append(new_key())
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]


@both
async def test_key_that_is_no_longer_listed_still_finds_its_process(
    bridge: FakeBridge, start_relay: StartRelay
) -> None:
    """A client may use a key until its directory expires. The directory is fetched again well before."""
    bridge.lifetime = 1
    relay = await start_relay(bridge.config)
    await relay.client.directories()
    old = bridge.envelope()
    bridge.configs = [new_key()]
    fetches = bridge.fetches
    await until(lambda: bridge.fetches >= fetches + 2)
    assert await relay.client.exchange(old) == [b"hello"]
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]


async def test_clients_cause_few_fetches(relay: RunningRelay, bridge: FakeBridge) -> None:
    """With keys that nobody knows, or that the bridge has dropped."""
    await relay.client.directories()
    began = time.monotonic()
    for _ in range(20):
        await refusal(relay.client.exchange(bridge.envelope(key_id=os.urandom(16))))
    assert bridge.fetches <= 5 + time.monotonic() - began
    bridge.script = abort(*OuterStatus.KEY_UNKNOWN.value)
    began, fetches = time.monotonic(), bridge.fetches
    for _ in range(30):
        await refusal(relay.client.exchange(bridge.envelope()))
    assert bridge.fetches - fetches <= 3 + time.monotonic() - began


@pytest.mark.parametrize(
    "changes",
    [
        {"identity": b"short"},
        {"replica_id": b"short"},
        {"configs": []},
        {"configs": [b"config"] * 9},
        {"configs": [b"c" * 70_000]},
        {"lifetime": 0},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_directory_out_of_bounds_is_rejected(changes: dict[str, Any]) -> None:
    source = FakeBridge()
    source.configs = [b"config"] * 8
    good = source.directories()
    assert len(read_listing(good).key_ids) == 8
    vars(source).update(changes)
    not_a_message = b"\x0a\x03\x0a\x01\xff"
    for encoded in (source.directories(), b"", b"\xff", not_a_message, 2 * good):
        with pytest.raises(DirectoryFormatError):
            read_listing(encoded)


async def test_directories_over_the_limit_are_left_out(
    bridge: FakeBridge, second_bridge: FakeBridge, start_relay: StartRelay
) -> None:
    for each in (bridge, second_bridge):
        each.configs = [os.urandom(5_000) for _ in range(8)]
    second_bridge.configs[0] += b"and so it is the larger one"
    relay = await start_relay(second_bridge.config, bridge.config)
    for _ in range(3):
        (directory,) = await relay.client.directories()
        assert bridge.replica_id in directory.directory
    assert relay.events().count("directories_left_out") == 1


@both
async def test_replica_that_lists_anothers_identity_gets_no_exchange(
    bridge: FakeBridge, second_bridge: FakeBridge, start_relay: StartRelay
) -> None:
    """The neighbour, first in the list, shows the victim's directory as its own."""
    neighbour = second_bridge
    neighbour.answer_fetch = bridge.directories()
    relay = await start_relay(neighbour.pinned, bridge.pinned)
    (directory,) = await relay.client.directories()
    assert bridge.replica_id in directory.directory
    for _ in range(3):
        assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    assert (len(bridge.seen), len(neighbour.seen)) == (3, 0)
    assert [json.loads(line).get("reason") for line in relay.lines].count("wrong_identity") == 1


@both
async def test_replica_may_change_to_its_next_identity(bridge: FakeBridge, start_relay: StartRelay) -> None:
    bridge.lifetime = 1
    following = os.urandom(32)
    relay = await start_relay(replace(bridge.config, identities=frozenset({bridge.identity, following})))
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    bridge.identity, fetches = following, bridge.fetches
    await until(lambda: bridge.fetches >= fetches + 2)  # the first of them has arrived
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]


@pytest.mark.parametrize("alone", [True, False])
async def test_unknown_key_is_refused(
    bridge: FakeBridge, second_bridge: FakeBridge, start_relay: StartRelay, alone: bool
) -> None:
    """A neighbour that is down does not change it, and other exchanges are served."""
    await second_bridge.stop()
    relay = await start_relay(*([bridge.config] if alone else [bridge.pinned, second_bridge.pinned]))
    assert len(await relay.client.directories()) == 1
    neighbours = OuterStatus.IDENTITY_UNKNOWN if alone else OuterStatus.BRIDGE_UNAVAILABLE
    for envelope, status in (
        (bridge.envelope(key_id=b"k" * 16), OuterStatus.KEY_UNKNOWN),
        (bridge.envelope(identity=b"i" * 32), OuterStatus.IDENTITY_UNKNOWN),
        (second_bridge.envelope(), neighbours),
    ):
        assert await refusal(relay.client.exchange(envelope)) is status
    assert bridge.seen == []
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    await second_bridge.start()


async def test_bridge_gets_the_relays_token_from_its_file(
    bridge: FakeBridge, start_relay: StartRelay, tmp_path: Path
) -> None:
    """It gets no client's token. A new token is used from the next call on."""
    old, new = "brt_" + "o" * 43, "brt_" + "n" * 43
    file = tmp_path / "ours"
    file.touch(0o600)
    file.write_text(old)
    relay = await start_relay(replace(bridge.config, token_file=file))
    for text, shown in ((old, old), ("broken", old), (new, new)):
        file.write_text(text)
        await relay.client.exchange(bridge.envelope())
        metadata = bridge.seen[-1].metadata
        assert [value for key, value in metadata if key == "authorization"] == [f"Bearer {shown}"]
    assert ("authorization", f"Bearer {old}") in bridge.fetch_metadata
    assert relay.events().count("token_unusable") == 1


@both
async def test_relay_shows_a_bridge_its_certificate(
    bridge: FakeBridge, start_relay: StartRelay, tmp_path: Path
) -> None:
    files = Certificates(tmp_path / "tls")
    bridge.credentials = files.server_credentials(require_client_auth=True)
    await bridge.restart()
    relay = await start_relay(replace(bridge.config, tls=files.client(files.ca)))
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
