"""Replicas: found by key, fetched again when they change, left out while they are down."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trustme

from blindrelay.serving import ChannelTls
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.keys import key_id
from blindrelay.v1.keys_pb2 import KeyConfig

if TYPE_CHECKING:
    from tests.relay_node.conftest import FakeBridge, RunningRelay, Seen, StartRelay

Until = Callable[[Callable[[], bool]], Awaitable[None]]


async def details(call: Awaitable[object]) -> str | None:
    """The words with which a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return failure.value.details()


async def test_directories_come_with_their_exact_signed_bytes(
    bridge: FakeBridge, second_bridge: FakeBridge, start_relay: StartRelay
) -> None:
    relay = await start_relay(bridge.config, second_bridge.config)
    directories = await relay.client.directories()
    for served, source in zip(directories, (bridge, second_bridge), strict=True):
        original = source.directory()
        assert served.delegation == original.delegation
        assert served.signature == original.signature
        assert served.delegation_signature == original.delegation_signature
        assert source.configs[0] in served.directory
        assert source.replica_id in served.directory


async def test_each_exchange_goes_to_the_replica_that_holds_its_key(
    bridge: FakeBridge, second_bridge: FakeBridge, start_relay: StartRelay
) -> None:
    second_bridge.identity = bridge.identity
    relay = await start_relay(bridge.config, second_bridge.config)
    for target in (second_bridge, bridge, second_bridge):
        await relay.client.exchange(target.envelope())
    assert (len(bridge.seen), len(second_bridge.seen)) == (1, 2)


async def test_an_unknown_key_of_a_known_identity(relay: RunningRelay, bridge: FakeBridge) -> None:
    assert await details(relay.client.exchange(bridge.envelope(key_id=b"k" * 16))) == "key_unknown"
    assert bridge.seen == []


async def test_a_known_key_of_another_identity(relay: RunningRelay, bridge: FakeBridge) -> None:
    assert await details(relay.client.exchange(bridge.envelope(identity=b"i" * 32))) == "identity_unknown"
    assert bridge.seen == []


async def test_unknown_keys_do_not_make_the_relay_fetch_without_end(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    await relay.client.directories()
    for _ in range(30):
        await details(relay.client.exchange(bridge.envelope(key_id=os.urandom(16))))
    assert bridge.fetches <= 5


async def test_a_key_published_since_the_last_fetch_is_found(
    relay: RunningRelay, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blindrelay.relay_node.replica.STALE_SECONDS", 0)
    await relay.client.directories()
    bridge.configs.append(KeyConfig(suite=1, public_key=os.urandom(1_216)).SerializeToString())
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]


async def test_a_key_no_longer_listed_still_finds_its_process(
    bridge: FakeBridge, start_relay: StartRelay, until: Until
) -> None:
    """Clients hold a directory until it expires; its keys open a little longer than they are published."""
    bridge.lifetime = 1
    relay = await start_relay(bridge.config)
    await relay.client.directories()
    old = key_id(bridge.configs[0])
    bridge.configs = [KeyConfig(suite=1, public_key=os.urandom(1_216)).SerializeToString()]
    fetches = bridge.fetches
    await until(lambda: bridge.fetches >= fetches + 2)
    assert await relay.client.exchange(bridge.envelope(key_id=old)) == [b"hello"]
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]


async def test_directories_are_renewed_well_before_they_expire(
    bridge: FakeBridge, start_relay: StartRelay, until: Until
) -> None:
    bridge.lifetime = 2
    await start_relay(bridge.config)
    await until(lambda: bridge.fetches >= 3)


async def test_a_restarted_replicas_old_directory_is_not_served_again(
    relay: RunningRelay, bridge: FakeBridge, until: Until
) -> None:
    """Nothing has failed yet; that the connection ended is enough."""
    await relay.client.directories()
    fetches = bridge.fetches
    await bridge.stop()
    bridge.new_keys()
    await bridge.start()
    await asyncio.sleep(0.2)
    try:
        (directory,) = await relay.client.directories()
    except grpc.aio.AioRpcError:
        await until(lambda: bridge.fetches > fetches)
        (directory,) = await relay.client.directories()
    assert bridge.replica_id in directory.directory


async def test_a_restarted_replica_is_used_with_its_new_keys_only(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    await relay.client.directories()
    before = bridge.envelope()
    await bridge.stop()
    bridge.new_keys()
    await bridge.start()
    answer = await within_two_seconds(relay, bridge)
    assert answer == [b"hello"]
    (directory,) = await relay.client.directories()
    assert bridge.replica_id in directory.directory
    assert await details(relay.client.exchange(before)) == "key_unknown"
    assert len(bridge.seen) == 1


async def within_two_seconds(relay: RunningRelay, bridge: FakeBridge) -> list[bytes]:
    """The response of the first exchange that works, tried again and again for two seconds."""
    deadline = time.monotonic() + 2
    while True:
        try:
            return await relay.client.exchange(bridge.envelope())
        except grpc.aio.AioRpcError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


async def test_a_bridge_down_for_seconds_is_used_within_two_of_being_back(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    await relay.client.directories()
    await bridge.stop()
    await asyncio.sleep(4)
    assert await details(relay.client.exchange(bridge.envelope())) == "bridge_unavailable"
    bridge.new_keys()
    await bridge.start()
    answer = await within_two_seconds(relay, bridge)
    assert answer == [b"hello"]
    assert [event for event in relay.events() if event.startswith("replica")] == [
        "replica_up",
        "replica_down",
        "replica_up",
    ]


async def test_a_bridge_that_dies_in_mid_answer_is_unavailable_and_its_directory_gone(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    call = relay.client.call(bridge.envelope())
    await call.write(b"x")
    assert await call.read() == b"x"
    await bridge.stop()
    assert await details(call.read()) == "bridge_unavailable"
    assert await details(relay.client.directories()) == "bridge_unavailable"
    assert await details(relay.client.exchange(bridge.envelope())) == "bridge_unavailable"


async def test_a_relay_that_starts_before_its_bridge_finds_it(
    bridge: FakeBridge, start_relay: StartRelay, until: Until
) -> None:
    await bridge.stop()
    relay = await start_relay(bridge.config)
    assert await details(relay.client.directories()) == "bridge_unavailable"
    await bridge.start()
    await until(lambda: "replica_up" in relay.events())
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]


async def test_one_replica_down_leaves_the_other(
    bridge: FakeBridge, second_bridge: FakeBridge, start_relay: StartRelay, until: Until
) -> None:
    relay = await start_relay(bridge.config, second_bridge.config)
    assert len(await relay.client.directories()) == 2
    await bridge.stop()
    await until(lambda: "replica_down" in relay.events())
    (directory,) = await relay.client.directories()
    assert second_bridge.replica_id in directory.directory
    assert await relay.client.exchange(second_bridge.envelope()) == [b"hello"]
    assert await details(relay.client.exchange(bridge.envelope())) == "bridge_unavailable"


async def test_key_unknown_from_a_replica_has_its_directory_fetched_again(
    relay: RunningRelay, bridge: FakeBridge, until: Until
) -> None:
    await relay.client.directories()

    async def script(context: grpc.aio.ServicerContext[bytes, bytes], _: object) -> None:
        await context.read()
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "key_unknown")

    bridge.script = script
    fetches = bridge.fetches
    stale = bridge.envelope()
    bridge.new_keys()
    assert await details(relay.client.exchange(stale)) == "key_unknown"
    (directory,) = await relay.client.directories()
    assert bridge.replica_id in directory.directory
    await until(lambda: bridge.fetches > fetches)


@pytest.mark.parametrize(
    "changes",
    [
        {"identity": b"short"},
        {"replica_id": b"short"},
        {"configs": []},
        {"configs": [b"config"] * 9},
        {"lifetime": 0},
        {"answer_fetch": b""},
        {"answer_fetch": b"\xff"},
        {"answer_fetch": b"\x0a\x03\x0a\x01\xff"},  # a directory that is no message
        {"configs": [b"c" * 70_000]},
    ],
)
async def test_a_directory_out_of_bounds_is_no_directory(
    bridge: FakeBridge, start_relay: StartRelay, changes: dict[str, Any]
) -> None:
    envelope = bridge.envelope()
    for name, value in changes.items():
        setattr(bridge, name, value)
    relay = await start_relay(bridge.config)
    assert await details(relay.client.directories()) == "bridge_unavailable"
    assert await details(relay.client.exchange(envelope)) == "bridge_unavailable"


async def test_a_replica_lists_one_directory(bridge: FakeBridge, start_relay: StartRelay) -> None:
    one = GetKeyDirectoryResponse(directories=[bridge.directory()]).SerializeToString()
    bridge.answer_fetch = one * 2
    relay = await start_relay(bridge.config)
    assert await details(relay.client.directories()) == "bridge_unavailable"
    bridge.answer_fetch = one
    relay = await start_relay(bridge.config)
    assert len(await relay.client.directories()) == 1


async def test_a_replica_that_lists_anothers_identity_gets_none_of_its_exchanges(
    bridge: FakeBridge, second_bridge: FakeBridge, start_relay: StartRelay
) -> None:
    """The neighbour, first in the list, shows the victim's directory as its own."""
    neighbour = second_bridge
    neighbour.answer_fetch = GetKeyDirectoryResponse(directories=[bridge.directory()]).SerializeToString()
    relay = await start_relay(
        replace(neighbour.config, identities=frozenset({neighbour.identity})),
        replace(bridge.config, identities=frozenset({bridge.identity})),
    )
    (directory,) = await relay.client.directories()
    assert bridge.replica_id in directory.directory
    for _ in range(3):
        assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    assert (len(bridge.seen), len(neighbour.seen)) == (3, 0)
    assert [json.loads(line).get("reason") for line in relay.lines].count("wrong_identity") == 1


async def test_a_replica_may_change_to_its_next_identity(
    bridge: FakeBridge, start_relay: StartRelay, until: Until
) -> None:
    bridge.lifetime = 1
    following = os.urandom(32)
    relay = await start_relay(replace(bridge.config, identities=frozenset({bridge.identity, following})))
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    bridge.identity, fetches = following, bridge.fetches
    await until(lambda: bridge.fetches > fetches)
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]


async def test_a_neighbour_that_hangs_does_not_change_what_others_hear(
    bridge: FakeBridge, second_bridge: FakeBridge, start_relay: StartRelay
) -> None:
    """An unknown key of a bridge that is there is unknown, whatever its neighbour does."""
    await second_bridge.stop()
    relay = await start_relay(
        *(replace(one.config, identities=frozenset({one.identity})) for one in (bridge, second_bridge))
    )
    assert len(await relay.client.directories()) == 1
    assert await details(relay.client.exchange(bridge.envelope(key_id=b"k" * 16))) == "key_unknown"
    assert await details(relay.client.exchange(bridge.envelope(identity=b"i" * 32))) == "identity_unknown"
    assert await details(relay.client.exchange(second_bridge.envelope())) == "bridge_unavailable"
    await second_bridge.start()


async def test_lost_exchanges_do_not_make_the_relay_fetch_without_end(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    """A client can cause them: with keys that the bridge has dropped, for one."""

    async def lose(context: Any, _: Seen) -> None:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "key_unknown")

    bridge.script = lose
    began, fetches = time.monotonic(), bridge.fetches
    for _ in range(60):
        await details(relay.client.exchange(bridge.envelope()))
    assert bridge.fetches - fetches <= 3 + time.monotonic() - began


async def test_a_bridge_that_does_not_know_our_token_is_said_to_the_operator_alone(
    bridge: FakeBridge, start_relay: StartRelay
) -> None:
    bridge.refuse_fetch = grpc.StatusCode.UNAUTHENTICATED
    relay = await start_relay(bridge.config)
    assert await details(relay.client.directories()) == "bridge_unavailable"
    assert relay.events() == ["replica_down"]


async def test_our_own_token_goes_to_the_bridge_and_the_clients_does_not(
    bridge: FakeBridge, start_relay: StartRelay, tmp_path: Path
) -> None:
    ours = "brt_" + "b" * 43
    relay = await start_relay(replace(bridge.config, token_file=written(tmp_path / "ours", ours)))
    await relay.client.exchange(bridge.envelope())
    for metadata in (bridge.fetch_metadata, bridge.seen[0].metadata):
        assert [value for key, value in metadata if key == "authorization"] == [f"Bearer {ours}"]


async def test_new_token_in_the_file_is_shown_from_the_next_call_on(
    bridge: FakeBridge, start_relay: StartRelay, tmp_path: Path
) -> None:
    old, new = "brt_" + "o" * 43, "brt_" + "n" * 43
    file = written(tmp_path / "ours", old)
    relay = await start_relay(replace(bridge.config, token_file=file))
    for text, shown in ((old, old), ("broken", old), (new, new)):
        written(file, text)
        await relay.client.exchange(bridge.envelope())
        assert ("authorization", f"Bearer {shown}") in bridge.seen[-1].metadata
    assert relay.events().count("token_unusable") == 1


def written(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(0o600)
    return file


async def test_directories_beyond_the_limits_are_left_out(
    bridge: FakeBridge, second_bridge: FakeBridge, start_relay: StartRelay
) -> None:
    for one in (bridge, second_bridge):
        one.configs = [os.urandom(5_000) for _ in range(8)]
    second_bridge.configs[0] += b"and so it is the larger one"
    relay = await start_relay(second_bridge.config, bridge.config)
    for _ in range(3):
        (directory,) = await relay.client.directories()
        assert bridge.replica_id in directory.directory
    assert relay.events().count("directories_left_out") == 1


async def test_mutual_tls_towards_the_bridge(
    new_bridge: type[FakeBridge], start_relay: StartRelay, tmp_path: Path
) -> None:
    ca = trustme.CA()
    pem, ours, theirs = ca.cert_pem.bytes(), ca.issue_cert("relay"), ca.issue_cert("127.0.0.1")
    files = [tmp_path / name for name in ("ca.pem", "relay.pem", "relay.key")]
    contents = (pem, ours.cert_chain_pems[0].bytes(), ours.private_key_pem.bytes())
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
        file.chmod(0o600)
    bridge = new_bridge()
    bridge.credentials = grpc.ssl_server_credentials(
        [(theirs.private_key_pem.bytes(), theirs.cert_chain_pems[0].bytes())], pem, require_client_auth=True
    )
    await bridge.start()
    relay = await start_relay(replace(bridge.config, tls=ChannelTls(*files)))
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    stranger = await start_relay(replace(bridge.config, tls=ChannelTls(files[0])))
    assert await details(stranger.client.exchange(bridge.envelope())) == "bridge_unavailable"
    await bridge.stop()


async def test_a_fault_in_reading_a_directory_does_not_end_the_asking(
    bridge: FakeBridge, start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch, until: Until
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


async def test_one_lost_exchange_of_a_busy_bridge_is_not_the_end_of_the_others(
    relay: RunningRelay, bridge: FakeBridge, until: Until
) -> None:
    """The directory is shown to nobody until the bridge answers again; who has a key goes on."""

    async def lose(context: Any, _: Seen) -> None:
        await context.abort(grpc.StatusCode.UNAVAILABLE)

    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    script, bridge.script = bridge.script, lose
    bridge.refuse_fetch = grpc.StatusCode.DEADLINE_EXCEEDED
    assert await details(relay.client.exchange(bridge.envelope())) == "bridge_unavailable"
    await until(lambda: "replica_down" in relay.events())
    bridge.script = script
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    assert await details(relay.client.directories()) == "bridge_unavailable"
    bridge.refuse_fetch = None
    await until(lambda: relay.events().count("replica_up") == 2)
    assert len(await relay.client.directories()) == 1
