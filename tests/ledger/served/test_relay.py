"""A real relay with a real ledger, between a bridge that settles what it is told to and bare clients."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from blindrelay.admin.v1 import admin_pb2 as admin
from blindrelay.relay_node import Relay, RelayConfig, ReplicaConfig
from blindrelay.relay_node.config import PeerConfig
from blindrelay.serving import Address, parse_address
from blindrelay.v1.outer_status import OuterStatus
from tests.ledger.served.conftest import RunningLedger
from tests.ledger.served.fake_bridge import FakeBridge
from tests.patience import PATIENCE, until
from tests.relay_node.conftest import KeptLog, patient_relays  # noqa: F401 - every relay here is patient
from tests.relay_node.fake_bridge import FakeBridge as ExchangeBridge
from tests.relay_node.raw_client import Client, refusal

UNITS = 10_000_000


@pytest.fixture
async def exchanges(bridge: FakeBridge) -> AsyncIterator[ExchangeBridge]:
    """The half of the bridge that takes exchanges."""
    half = ExchangeBridge()
    half.identity = bridge.identity.public_key
    await half.start()
    yield half
    await half.stop()


@pytest.fixture
async def relay(ledger: RunningLedger, exchanges: ExchangeBridge, tmp_path: Path) -> AsyncIterator[Address]:
    """It has heard its ledger and its bridge."""
    (tmp_path / "ledger-token").write_text(ledger.relay_token)
    (tmp_path / "ledger-token").chmod(0o600)
    peer = PeerConfig(parse_address(ledger.address), token_file=tmp_path / "ledger-token")
    replica = ReplicaConfig(Address("127.0.0.1", exchanges.port), identities=frozenset({exchanges.identity}))
    config = RelayConfig(
        *(Address("127.0.0.1", 0), None, (replica,)),
        ledger=peer,
        max_exchanges=2_000,
        max_exchanges_per_token=2_000,
    )
    log = KeptLog()
    async with Relay(config, log).running() as address:
        await until(lambda: all(event in str(log.lines) for event in ("ledger_up", "replica_up")))
        yield address


async def charged(ledger: RunningLedger, units: int) -> admin.Account:
    """Ann's account, once it is charged these units. A receipt may reach the books before its start."""
    async with asyncio.timeout(PATIENCE):
        while (account := await ledger.standing()).charged < units:
            pass
    return account


async def test_an_exchange_is_reserved_and_then_charged(
    ledger: RunningLedger, relay: Address, exchanges: ExchangeBridge, bridge: FakeBridge
) -> None:
    token = await ledger.account(units=UNITS)
    client = await Client(str(relay), token).leased()
    envelope = exchanges.envelope()
    assert await client.exchange(envelope) == [b"hello"]
    await bridge.settle(envelope, 40)
    account = await charged(ledger, 40)
    assert (account.balance, account.charged, account.outstanding) == (UNITS - 40, 40, 0)


async def test_a_new_account_is_served_as_soon_as_it_has_units(
    ledger: RunningLedger, relay: Address, exchanges: ExchangeBridge
) -> None:
    client = Client(str(relay), await ledger.account())
    assert await refusal(client.directories()) is OuterStatus.LIMIT_UNITS
    await ledger.credit(UNITS)
    assert await (await client.leased()).exchange(exchanges.envelope()) == [b"hello"]


async def test_a_thousand_at_the_last_unit_stay_within_the_overdraft_bound(
    ledger: RunningLedger, relay: Address, exchanges: ExchangeBridge, bridge: FakeBridge
) -> None:
    """Each of the exchanges costs all that it may. There is room for five."""
    token = await ledger.account(units=1)
    account = await ledger.limit(max_units=1_000, overdraft=4_999, concurrent=1_000)
    assert account.overdraft_bound == 4_999
    clients = [await Client(str(relay), token).leased() for _ in range(10)]

    async def exchange(client: Client) -> str:
        envelope = exchanges.envelope(max_units=1_000)
        while True:
            try:
                await client.exchange(envelope, timeout=PATIENCE)
            except grpc.aio.AioRpcError as error:
                if error.details() == "ledger_unavailable":  # it is slow to name the limit
                    continue
                return error.details() or ""
            await bridge.put(receipt=bridge.receipt(envelope, 1_000))
            return "ok"

    ends = Counter(await asyncio.gather(*(exchange(client) for client in clients for _ in range(100))))
    assert ends == {"ok": 5, "limit_units": 995}
    assert (await charged(ledger, 5_000)).balance == 1 - 5_000 == -4_999


async def test_revoking_a_token_ends_a_running_exchange(
    ledger: RunningLedger, relay: Address, exchanges: ExchangeBridge
) -> None:
    token = await ledger.account(units=UNITS)
    client = await Client(str(relay), token).leased()
    call = await client.open(exchanges.envelope())
    (known,) = (await ledger.admin.GetAccount(admin.GetAccountRequest(account="ann"))).tokens
    await ledger.admin.RevokeToken(admin.RevokeTokenRequest(id=known.id))
    assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
