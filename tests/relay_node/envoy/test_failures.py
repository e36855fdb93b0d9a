"""What is lost with Envoy, with its control process, and with the pipe between them."""

from __future__ import annotations

import base64
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from blindrelay.relay_node import RelayConfig
from blindrelay.relay_node.envoy import data_plane as module
from blindrelay.relay_node.envoy import usage_pipe
from blindrelay.relay_node.envoy.process import ControlProcess
from blindrelay.serving import Address, ConfigError, StartError
from blindrelay.serving.leases import beginning_of
from blindrelay.testbed.ports import free_port
from blindrelay.v1.envelope import routing_text
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.http_proxy import HttpProxy
from blindrelay.v1.outer_status import OuterStatus
from tests.patience import until
from tests.relay_node.behind_envoy import eventually, in_front, loaded, outcome, published
from tests.relay_node.conftest import Billed, KeptLog, RunningRelay, StartBilled
from tests.relay_node.fake_bridge import FakeBridge
from tests.relay_node.fake_ledger import FakeLedger
from tests.relay_node.raw_client import Client, eventually_served, finish, refusal

behind_envoy = pytest.mark.parametrize("data_plane", ["envoy"], indirect=True)


def outcomes(ledger: FakeLedger) -> list[str]:
    return [line.end.outcome for line in ledger.ends()]


@behind_envoy
async def test_exchanges_of_an_envoy_that_is_killed_have_ended(billed: Billed, bridge: FakeBridge) -> None:
    """The ledger learns of it, and the next Envoy serves with the same leases."""
    for _ in range(3):
        await billed.leased.open(bridge.envelope())
    await until(lambda: len(billed.ledger.starts()) == 3)
    assert billed.relay.envoy is not None
    billed.relay.envoy.kill()
    await until(lambda: outcomes(billed.ledger) == ["internal"] * 3)
    process = billed.relay.relay
    assert isinstance(process, ControlProcess)
    async with in_front(process, billed.relay.address):
        await eventually_served(billed.leased, bridge.envelope)
        await until(lambda: outcomes(billed.ledger)[3:] == ["ok"])


@behind_envoy
async def test_end_that_is_never_told_is_made_up(
    billed: Billed, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two Envoys, one is killed: the pipe does not end."""
    call = await billed.leased.open(bridge.envelope())
    await until(lambda: len(billed.ledger.starts()) == 1)
    monkeypatch.setattr(module, "LONGEST_SECONDS", -1_000.0)
    await until(lambda: outcomes(billed.ledger) == ["internal"])
    await finish(call)


def make_careful(billed: Billed, monkeypatch: pytest.MonkeyPatch) -> module.DataPlane:
    """Has the control process decide the account's exchanges from now on."""
    assert isinstance(billed.relay.relay, ControlProcess)
    plane = billed.relay.relay._data_plane
    monkeypatch.setattr(plane._gate, "careful", lambda: {billed.account.name})
    return plane


@behind_envoy
async def test_exchange_that_envoy_forwards_by_old_routes_is_counted_while_it_runs(
    billed: Billed, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such an exchange may run for hours, and a client at its limit could collect them."""
    plane = make_careful(billed, monkeypatch)
    monkeypatch.setattr(plane._folder, "publish", lambda *_: None)
    await until(lambda: bool(plane._careful))
    call = await billed.leased.open(bridge.envelope())
    await until(lambda: len(billed.ledger.starts()) == 1)
    await finish(call)
    await until(lambda: outcomes(billed.ledger) == ["ok"])


@behind_envoy
async def test_exchange_that_envoy_passes_on_is_counted_once(
    billed: Billed, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that ends before its line is looked at."""
    plane = make_careful(billed, monkeypatch)
    await loaded(billed.relay, beginning_of(billed.account.name))
    call = await billed.leased.open(bridge.envelope())
    await until(lambda: bool(plane._running))
    assert await billed.leased.exchange(bridge.envelope()) == [b"hello"]
    await until(lambda: not plane._unsettled)
    await finish(call)
    await until(lambda: not plane._running)
    assert (len(billed.ledger.starts()), outcomes(billed.ledger)) == (2, ["ok", "ok"])


@behind_envoy
async def test_drained_envoy_finishes_its_streams(relay: RunningRelay, bridge: FakeBridge) -> None:
    call = await relay.client.open(bridge.envelope())
    assert isinstance(relay.relay, ControlProcess)
    admin = relay.relay.bootstrap.parent / "admin.sock"
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(admin))
        asking.sendall(b"POST /drain_listeners?graceful HTTP/1.1\r\nhost: envoy\r\n\r\n")
        assert asking.recv(100).startswith(b"HTTP/1.1 200")
    await finish(call)
    assert await relay.ended(1) == {"ok": 1}


@behind_envoy
async def test_lines_that_nobody_could_mean_are_passed_over(billed: Billed, bridge: FakeBridge) -> None:
    """Also a very long one, and half of one. What follows is read."""
    assert isinstance(billed.relay.relay, ControlProcess)
    pipe = billed.relay.relay.bootstrap.parent / "usage.pipe"
    with pipe.open("wb", buffering=0) as writing:
        writing.write(b"start \xff\n\nend x 0\nstart 1 ! Bearer x\n" + 40_000 * b"a" + b"\n")
        writing.write(b"end 1 x 1 - - 0 - -\n")
    await billed.leased.exchange(bridge.envelope())
    await until(lambda: outcomes(billed.ledger) == ["ok"])


@behind_envoy
async def test_lease_that_expires_before_its_line_is_read_is_counted(
    billed: Billed, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Envoy takes a lease for two seconds more. One that is older is not Envoy's doing."""
    assert isinstance(billed.relay.relay, ControlProcess)
    (node,) = billed.ledger._streams
    now, late, old = int(time.time()), bridge.envelope(), bridge.envelope()
    gate: Any = billed.relay.relay._gate
    monkeypatch.setattr(gate.leases, "_clock", lambda: now)
    with (billed.relay.relay.bootstrap.parent / "usage.pipe").open("w") as writing:
        for envelope, expired in ((old, now - 60), (late, now - 2)):
            text = base64.b64encode(envelope).decode().rstrip("=")
            lease = billed.ledger.lease(billed.account, node, exp=expired)
            writing.write(f"start {expired} {text} Bearer {lease}\nend {expired} 1 1 - bridge-0 0 - -\n")
    await until(lambda: outcomes(billed.ledger) == ["ok"])
    assert [line.start.envelope for line in billed.ledger.starts()] == [late]


@behind_envoy
async def test_full_pipe_delays_no_exchange_and_loses_no_line(
    start_billed: StartBilled, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the control process is busy, Envoy keeps what the pipe has no room for."""
    monkeypatch.setattr(usage_pipe, "_ROOM", 4_096)
    busy, read = True, usage_pipe._PipeReader._read
    monkeypatch.setattr(usage_pipe._PipeReader, "_read", lambda reader: None if busy else read(reader))
    billed = await start_billed()
    envelopes = [bridge.envelope() for _ in range(150)]
    for envelope in envelopes:
        assert await billed.leased.exchange(envelope) == [b"hello"]
    assert billed.ledger.starts() == []
    busy = False
    await until(lambda: outcomes(billed.ledger) == ["ok"] * 150)
    assert [line.start.envelope for line in billed.ledger.starts()] == envelopes


@behind_envoy
async def test_without_the_pipe_envoy_decides_nothing(billed: Billed, bridge: FakeBridge) -> None:
    """The next Envoy would write its lines to a file of that name."""
    before = await billed.leased.open(bridge.envelope())
    await until(lambda: len(billed.ledger.starts()) == 1)
    relay = billed.relay
    assert isinstance(relay.relay, ControlProcess)
    key = routing_text(Envelope.FromString(bridge.envelope()).key_id)
    assert key in published(relay, "routes")
    (relay.relay.bootstrap.parent / "usage.pipe").unlink()
    await until(lambda: key not in published(relay, "routes"))
    assert await billed.leased.exchange(bridge.envelope()) == [b"hello"]
    await until(lambda: outcomes(billed.ledger) == ["ok"])
    assert relay.envoy is not None
    relay.envoy.kill()
    await until(lambda: outcomes(billed.ledger) == ["ok", "internal"])
    before.cancel()


@asynccontextmanager
async def control(config: RelayConfig, folder: Path, log: KeptLog) -> AsyncIterator[ControlProcess]:
    process = ControlProcess(config, folder / "relay.toml", log)
    async with process.running():
        await until(lambda: process.bridges_known)
        yield process


async def test_control_process_that_is_lost_and_back(
    bridge: FakeBridge, ledger: FakeLedger, tmp_path: Path
) -> None:
    """What runs goes on. Leases of the earlier process are unknown to the next one; clients renew them."""
    config = RelayConfig(Address("127.0.0.1", free_port()), None, (bridge.pinned,), ledger=ledger.config)
    token = "brt_" + 43 * "A"
    ledger.add(token)
    async with contextlib.AsyncExitStack() as envoy:
        async with control(config, tmp_path, KeptLog()) as first:
            await envoy.enter_async_context(in_front(first, config.listen))
            client = Client(str(config.listen), token)
            envoy.push_async_callback(client.channel.close)
            old = await client.leased()
            call = await old.open(bridge.envelope())

        async def refused() -> bool:
            return await outcome(old, bridge) is OuterStatus.BRIDGE_UNAVAILABLE

        await eventually(refused)
        seen = len(bridge.seen)
        assert await refused()
        assert len(bridge.seen) == seen, "what nobody counts, no bridge gets"
        with pytest.raises(grpc.aio.AioRpcError):
            await client.fetch()
        async with control(config, tmp_path, KeptLog()):

            async def unknown() -> bool:
                return await outcome(old, bridge) is OuterStatus.LEASE_UNKNOWN

            await eventually(unknown)
            renewed = await client.leased()
            await eventually_served(renewed, bridge.envelope)
            await finish(call)
            await until(lambda: "ok" in outcomes(ledger))


async def test_second_control_process_in_a_folder_does_not_start(bridge: FakeBridge, tmp_path: Path) -> None:
    """It would take the socket and the files from the first one, and Envoy would refuse its leases."""
    (tmp_path / "tokens").touch(0o600)
    config = RelayConfig(Address("127.0.0.1", free_port()), tmp_path / "tokens", (bridge.pinned,))
    async with control(config, tmp_path, KeptLog()) as first:
        written = first.bootstrap.stat()
        with pytest.raises(StartError, match=r"another control process uses .*: stop it first"):
            ControlProcess(config, tmp_path / "relay.toml")
        assert first.bootstrap.stat() == written
    async with control(config, tmp_path, KeptLog()):
        pass


async def test_port_of_another_program_is_an_error(bridge: FakeBridge, tmp_path: Path) -> None:
    (tmp_path / "tokens").touch(0o600)
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = Address("127.0.0.1", other.getsockname()[1])
        process = ControlProcess(
            RelayConfig(listen, tmp_path / "tokens", (bridge.config,)), tmp_path / "relay.toml"
        )
        with pytest.raises(StartError, match="the port is taken"):
            async with process.running():
                pass


async def test_folder_and_proxy_that_do_not_do_are_errors(bridge: FakeBridge, tmp_path: Path) -> None:
    good = RelayConfig(Address("127.0.0.1", free_port()), None, (bridge.config,))
    proxied = replace(bridge.config, proxy=HttpProxy.parse("http://127.0.0.1:1"))
    long = tmp_path / (100 * "a")
    long.mkdir()
    (tmp_path / "envoy").mkdir(mode=0o755)
    for config, folder, said in (
        (good, tmp_path, "is open to others: run chmod 700"),
        (good, long, "too long for the sockets"),
        (replace(good, replicas=(proxied,)), long, "Envoy connects to bridges directly"),
        (replace(good, listen=Address("127.0.0.1", 0)), long, "port 0"),
        (replace(good, sandbox=True), long, "no sandbox"),
    ):
        with pytest.raises(ConfigError, match=said):
            ControlProcess(config, folder / "relay.toml")
    (tmp_path / "envoy").chmod(0o700)
    (tmp_path / "envoy/usage.pipe").write_text("a file")
    with pytest.raises(ConfigError, match="is not a pipe"):
        ControlProcess(good, tmp_path / "relay.toml")
    assert not list(long.iterdir())


@behind_envoy
async def test_bridge_that_starts_again_has_other_keys(relay: RunningRelay, bridge: FakeBridge) -> None:
    earlier = bridge.envelope()
    bridge.new_keys()
    await bridge.restart()
    await eventually_served(relay.client, bridge.envelope)

    async def forgotten() -> bool:
        try:
            await relay.client.exchange(earlier)
        except grpc.aio.AioRpcError as error:
            return OuterStatus.of(error.code(), error.details()) is OuterStatus.KEY_UNKNOWN
        return False

    await eventually(forgotten)


@behind_envoy
async def test_client_whose_connection_is_lost_has_cancelled(relay: RunningRelay, bridge: FakeBridge) -> None:
    await relay.client.open(bridge.envelope())
    await relay.client.channel.close()
    await until(lambda: bridge.seen[0].cancelled)
    assert await relay.ended(1) == {"cancelled": 1}
    other = await relay.another_client().leased()
    assert await refusal(other.exchange(bridge.envelope(key_id=bytes(16)))) is OuterStatus.KEY_UNKNOWN
