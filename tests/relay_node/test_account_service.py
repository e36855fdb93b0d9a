"""What a relay passes on to its ledger about accounts, and what it says without one."""

from __future__ import annotations

import hashlib
from typing import Any

import grpc
import pytest

from blindrelay.v1.outer_status import OuterStatus
from tests.patience import PATIENCE
from tests.relay_node.conftest import Billed, StartRelay, both
from tests.relay_node.fake_bridge import FakeBridge
from tests.relay_node.raw_client import Client, refusal


@both
async def test_statement_and_price_table_come_through_the_relay(billed: Billed) -> None:
    """The ledger sees a hash of the token, and no token."""
    pages = await about_account(billed.client, "GetStatement", b"")
    assert len(pages) == 3
    asked = billed.ledger.metadata[-1]
    assert asked["blindrelay-token-digest-bin"] == hashlib.sha256(billed.client.token.encode()).digest()
    assert billed.client.token not in repr(asked)
    assert len(await about_account(billed.client, "GetPriceTable", b"")) == 1


@both
async def test_account_is_told_nothing_without_its_token(billed: Billed) -> None:
    """A lease does not do: it is shown with every exchange, and a statement tells more than an exchange."""
    for token in ("brt_" + "A" * 43, billed.leased.token, ""):
        billed.client.token = token
        call = about_account(billed.client, "GetStatement", b"")
        assert await refusal(call) is OuterStatus.UNAUTHENTICATED


async def test_without_the_ledger_an_account_is_told_nothing(billed: Billed) -> None:
    await billed.ledger.stop()
    assert await refusal(about_account(billed.client, "GetStatement", b"")) is OuterStatus.LEDGER_UNAVAILABLE


async def test_relay_without_a_ledger_serves_no_accounts(bridge: FakeBridge, start_relay: StartRelay) -> None:
    relay = await start_relay(bridge.config)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await about_account(relay.client, "GetStatement", b"")
    assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert (await relay.client.fetch()).lease == ""


async def about_account(client: Client, method: str, request: bytes) -> list[bytes]:
    """The messages of the response."""
    ask: Any = client.channel.unary_stream(f"/blindrelay.v1.AccountService/{method}")
    call = ask(request, metadata=[("authorization", f"Bearer {client.token}")], timeout=PATIENCE)
    return [message async for message in call]
