"""A relay whose ledger is silent, away, or new: what goes on, and what is refused."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any
from unittest.mock import Mock

import grpc
import pytest

from blindrelay.relay_node import accounts, contact, lease_gate
from blindrelay.v1.outer_status import OuterStatus
from tests.patience import PATIENCE, until
from tests.relay_node.conftest import Billed, StartBilled, both
from tests.relay_node.fake_bridge import FakeBridge
from tests.relay_node.raw_client import finish, refusal, retry_after


async def test_revocation_is_told_after_a_restart_of_the_ledger(billed: Billed, bridge: FakeBridge) -> None:
    call = await billed.leased.open(bridge.envelope())
    await billed.ledger.stop()
    (lease_id, *_) = billed.ledger.leases
    billed.ledger.revoked.append(lease_id)
    await billed.ledger.start()
    assert await refusal(call.read()) is OuterStatus.UNAUTHENTICATED


async def test_revocation_is_kept_though_a_ledger_with_a_faster_clock_has_forgotten_it(
    billed: Billed, bridge: FakeBridge
) -> None:
    (lease_id, *_) = billed.ledger.leases
    await billed.ledger.revoke(lease_id)
    gate: Any = billed.relay.relay._gate
    await until(lambda: lease_id in gate._revoked)
    await billed.ledger.stop()
    billed.ledger.revoked.clear()
    await billed.ledger.start()
    await until(lambda: billed.relay.events().count("ledger_up") == 2)
    assert await refusal(billed.leased.exchange(bridge.envelope())) is OuterStatus.LEASE_UNKNOWN


async def test_new_key_is_waited_for(billed: Billed, bridge: FakeBridge) -> None:
    """The ledger may sign with a key that is still on its way to the relay."""
    billed.ledger.keys.insert(0, os.urandom(32))
    asking = asyncio.create_task(billed.client.leased())
    await until(lambda: len(billed.ledger.metadata) == 2)
    await billed.ledger.tell(lease_keys=billed.ledger.keys)
    assert await (await asking).exchange(bridge.envelope()) == [b"hello"]
    assert await billed.leased.exchange(bridge.envelope()) == [b"hello"]


async def test_key_that_never_comes_is_not_waited_for_long(
    billed: Billed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_gate, "KEYS_SECONDS", 0.1)
    newcomer = billed.relay.another_client()
    billed.ledger.add(newcomer.token)
    billed.ledger.keys = [os.urandom(32)]
    assert await refusal(newcomer.directories()) is OuterStatus.LEDGER_UNAVAILABLE


@both
async def test_without_the_ledger_leases_go_on_and_no_new_ones_are_given(
    billed: Billed, bridge: FakeBridge
) -> None:
    """Directories come with the lease that the token has: a bridge may have new keys meanwhile."""
    newcomer = billed.relay.another_client()
    billed.ledger.add(newcomer.token)
    await billed.ledger.stop()
    assert await billed.leased.exchange(bridge.envelope()) == [b"hello"]
    again = await billed.client.leased()
    assert again.token == billed.leased.token
    assert await again.exchange(bridge.envelope()) == [b"hello"]
    assert await refusal(newcomer.directories()) is OuterStatus.LEDGER_UNAVAILABLE
    assert await retry_after(newcomer.directories()) == 1
    await until(lambda: {"ledger_up", "ledger_down"} <= set(billed.relay.events()))


async def test_without_the_ledger_a_lease_that_has_expired_or_is_revoked_is_not_given_again(
    billed: Billed, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate: Any = billed.relay.relay._gate
    (lease_id, *_) = billed.ledger.leases
    await billed.ledger.stop()
    with monkeypatch.context() as later:
        later.setattr(gate._leases, "_clock", lambda: time.time() + billed.account.seconds)
        assert await refusal(billed.client.directories()) is OuterStatus.LEDGER_UNAVAILABLE
    gate._revoked[lease_id] = time.time()
    assert await refusal(billed.client.directories()) is OuterStatus.LEDGER_UNAVAILABLE


async def test_silent_ledger_stops_new_exchanges(
    billed: Billed, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have given the allowance to another process. Running exchanges go on."""
    call = await billed.leased.open(bridge.envelope())
    await billed.ledger.stop()
    monkeypatch.setattr(contact, "SILENCE_SECONDS", -1.0)
    assert await refusal(billed.leased.exchange(bridge.envelope())) is OuterStatus.LEDGER_UNAVAILABLE
    await finish(call)
    monkeypatch.setattr(contact, "SILENCE_SECONDS", PATIENCE)
    await billed.ledger.start()
    assert await billed.leased.exchange(bridge.envelope()) == [b"hello"]


async def test_fault_of_the_relay_does_not_cut_it_off(
    billed: Billed, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged, and the stream is opened again. Otherwise nobody would be served after ten seconds."""
    gate: Any = billed.relay.relay._gate
    with monkeypatch.context() as patched:
        patched.setattr(gate._contact, "heard", Mock(side_effect=RuntimeError))
        await until(lambda: gate._ledger.up is False)
    await until(lambda: gate._ledger.up is True)
    assert await billed.leased.exchange(bridge.envelope()) == [b"hello"]
    events = billed.relay.events()
    assert "fault" in events
    assert events.count("ledger_up") == 2


async def test_allowances_of_an_earlier_stream_are_void(
    start_billed: StartBilled, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may have them by now."""
    monkeypatch.setattr(accounts, "ALLOWANCE_SECONDS", 0.1)
    billed = await start_billed(free=1_000_000)
    await billed.ledger.stop()
    billed.ledger.acknowledges = False
    billed.ledger.accounts.clear()
    await billed.ledger.start()
    async with asyncio.timeout(PATIENCE):
        # The relay has to read the first message of the new stream before it knows.
        while await ends(billed.leased.exchange(bridge.envelope())) is not OuterStatus.LEDGER_UNAVAILABLE:
            pass


async def ends(exchange: Any) -> OuterStatus | None:
    """The status with which an exchange is refused, or None."""
    try:
        await exchange
    except grpc.aio.AioRpcError as error:
        return OuterStatus.of(error.code(), error.details())
    return None


async def test_a_message_that_has_waited_for_long_ends_its_stream(
    billed: Billed, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new stream tells what is true now."""
    before = billed.ledger.hellos
    await billed.ledger.tell(sent_at=1)
    await until(lambda: billed.ledger.hellos > before)
    gate: Any = billed.relay.relay._gate
    await until(lambda: not gate._contact.silent)
    assert await billed.leased.exchange(bridge.envelope()) == [b"hello"]
