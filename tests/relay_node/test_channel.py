"""The relay's certificate towards a bridge can be replaced while it runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from tests.certificates import Certificates
from tests.relay_node.conftest import RunningRelay, StartRelay
from tests.relay_node.fake_bridge import FakeBridge, Seen, until


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Those of the relay. The bridge has another one of the CA."""
    return Certificates(tmp_path)


@pytest.fixture
async def relay(bridge: FakeBridge, start_relay: StartRelay, certificates: Certificates) -> RunningRelay:
    """Its bridge answers each message with the name in the relay's certificate."""

    async def script(context: Any, seen: Seen) -> None:
        while await context.read() is not grpc.aio.EOF:
            await context.write(context.auth_context()["x509_common_name"][0])

    bridge.script = script
    bridge.credentials = certificates.server_credentials(require_client_auth=True)
    await bridge.restart()
    return await start_relay(replace(bridge.config, tls=certificates.client(trusts=certificates.ca)))


async def test_new_exchanges_use_the_new_certificate_and_running_ones_continue(
    relay: RunningRelay, bridge: FakeBridge, certificates: Certificates
) -> None:
    """Files that cannot be used meanwhile are logged once, and the connection stays."""
    running = relay.client.call(bridge.envelope())
    await running.write(b"x")
    assert await running.read() == b"first"
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
    assert relay.events().count("certificates_unusable") == 1
    assert relay.events().count("replica_down") == 0


async def test_relay_with_a_refused_certificate_recovers_with_a_new_one(
    bridge: FakeBridge, start_relay: StartRelay, certificates: Certificates
) -> None:
    certificates.issue("stranger", trustme.CA())
    bridge.credentials = certificates.server_credentials(require_client_auth=True)
    await bridge.restart()
    relay = await start_relay(replace(bridge.config, tls=certificates.client(trusts=certificates.ca)))
    await until(lambda: "replica_down" in relay.events())
    certificates.issue("second")
    await until(lambda: "replica_up" in relay.events())
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
