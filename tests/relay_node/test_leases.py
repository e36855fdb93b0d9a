"""A relay with a ledger: who gets a lease, what a lease admits, and how it is revoked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from blindrelay.relay_node import fetched_leases
from blindrelay.relay_node import ledger as relay_ledger
from blindrelay.serving.leases import MAX_SECONDS
from blindrelay.v1.identity_text import format_identity
from blindrelay.v1.ledger_pb2 import Limit
from blindrelay.v1.limits import MAX_DIRECTORIES_SIZE
from blindrelay.v1.outer_status import OuterStatus
from tests.patience import PATIENCE, until
from tests.relay_node.conftest import Billed, StartBilled, StartRelay, both
from tests.relay_node.fake_bridge import FakeBridge, cancelled
from tests.relay_node.fake_ledger import FakeLedger
from tests.relay_node.raw_client import Client, finish, refusal, retry_after


@both
async def test_lease_comes_with_the_directories_and_admits_exchanges(
    billed: Billed, bridge: FakeBridge
) -> None:
    response = await billed.client.fetch()
    assert (len(response.directories), response.lease_seconds) == (1, 300)
    assert await billed.leased.exchange(bridge.envelope()) == [b"hello"]
    asked = billed.ledger.metadata[-1]
    assert not any(billed.client.token in str(value) for value in asked.values())


@both
async def test_bridge_learns_nothing_of_lease_or_account(billed: Billed, bridge: FakeBridge) -> None:
    await billed.leased.exchange(bridge.envelope())
    shown = repr(bridge.seen[0].metadata)
    assert "authorization" not in shown
    assert billed.account.name not in shown


@both
async def test_token_admits_no_exchange_and_a_lease_no_fetch(billed: Billed, bridge: FakeBridge) -> None:
    """The long-lived token is shown once in minutes, and a stolen lease gets no further one."""
    assert await refusal(billed.client.exchange(bridge.envelope())) is OuterStatus.LEASE_UNKNOWN
    assert await refusal(billed.leased.directories()) is OuterStatus.UNAUTHENTICATED
    assert bridge.seen == []


@both
async def test_lease_of_another_process_is_unknown(billed: Billed, bridge: FakeBridge) -> None:
    """Otherwise its limits would hold once for each process."""
    borrowed = billed.ledger.lease(billed.account, os.urandom(16))
    billed.leased.token = borrowed
    assert await refusal(billed.leased.exchange(bridge.envelope())) is OuterStatus.LEASE_UNKNOWN


@both
async def test_expired_lease_is_unknown(start_billed: StartBilled, bridge: FakeBridge) -> None:
    """What began under it goes on. Envoy counts in whole seconds, and allows one more."""
    billed = await start_billed(seconds=2)
    call = None
    while call is None:  # the machine may have been slower than the lease is long
        leased = await billed.client.leased()
        with contextlib.suppress(grpc.aio.AioRpcError):
            call = await leased.open(bridge.envelope())
    ends = time.time() + 4
    await until(lambda: time.time() > ends)
    assert await refusal(leased.exchange(bridge.envelope())) is OuterStatus.LEASE_UNKNOWN
    await finish(call)


@both
@pytest.mark.parametrize(
    ("limit", "status", "hint"),
    [
        (Limit(status="limit_units", retry_after_seconds=3_600), OuterStatus.LIMIT_UNITS, 3_600),
        (Limit(status="limit_bytes"), OuterStatus.LIMIT_BYTES, None),
        (Limit(status="token_unknown"), OuterStatus.UNAUTHENTICATED, None),
        (Limit(status="not_in_scope"), OuterStatus.NOT_IN_SCOPE, None),
        (Limit(status="said by 10.1.2.3", retry_after_seconds=2), OuterStatus.OVERLOADED, 2),
    ],
)
async def test_ledger_says_why_there_is_no_lease(
    billed: Billed, limit: Limit, status: OuterStatus, hint: int | None
) -> None:
    billed.account.refuses = limit
    assert await refusal(billed.client.directories()) is status
    assert await retry_after(billed.client.directories()) == hint


@both
async def test_unknown_and_missing_tokens_get_no_lease(billed: Billed) -> None:
    asked = len(billed.ledger.metadata)
    billed.client.token = "brt_" + "A" * 43
    assert await refusal(billed.client.directories()) is OuterStatus.UNAUTHENTICATED
    assert len(billed.ledger.metadata) == asked + 1
    billed.client.token = "anything else"
    assert await refusal(billed.client.directories()) is OuterStatus.UNAUTHENTICATED
    assert len(billed.ledger.metadata) == asked + 1, "the ledger is asked about tokens only"


ELSEWHERE = format_identity(bytes(32))


@both
@pytest.mark.parametrize(
    "claims",
    [
        {"bridges": [ELSEWHERE]},
        {"classes": [1]},
        {"addresses": ["192.0.2.0/24", "2001:db8::/32"]},
        {"units": 500_000},
    ],
    ids=lambda claims: next(iter(claims)),
)
async def test_lease_with_another_scope_is_refused(
    start_billed: StartBilled, bridge: FakeBridge, claims: dict[str, Any]
) -> None:
    billed = await start_billed(claims=claims)
    assert await refusal(billed.leased.exchange(bridge.envelope())) is OuterStatus.NOT_IN_SCOPE
    assert bridge.seen == []
    assert billed.ledger.lines == {}


@both
async def test_lease_with_the_right_scope_is_admitted(start_billed: StartBilled, bridge: FakeBridge) -> None:
    claims = {
        "bridges": [ELSEWHERE, format_identity(bridge.identity)],
        "classes": [0],
        "addresses": ["127.0.0.0/8"],
        "units": 1_000_000,
    }
    billed = await start_billed(claims=claims)
    assert await billed.leased.exchange(bridge.envelope()) == [b"hello"]


async def test_account_runs_no_more_at_once_than_it_may(
    start_billed: StartBilled, bridge: FakeBridge
) -> None:
    """Whichever of its leases it shows. Other accounts have their own limits."""
    billed = await start_billed(claims={"concurrent": 2})
    calls = [await billed.leased.open(bridge.envelope()) for _ in range(2)]
    second_lease = await billed.client.leased()
    assert second_lease.token != billed.leased.token
    for client in (billed.leased, second_lease):
        assert await refusal(client.exchange(bridge.envelope())) is OuterStatus.LIMIT_CONCURRENT
        assert await retry_after(client.exchange(bridge.envelope())) == 1
    other = await billed.another()
    assert await other.exchange(bridge.envelope()) == [b"hello"]
    await finish(calls.pop())
    assert await billed.leased.exchange(bridge.envelope()) == [b"hello"]
    await finish(calls.pop())


async def test_rate_is_that_of_the_account(start_billed: StartBilled, bridge: FakeBridge) -> None:
    billed = await start_billed(claims={"rate": "0.01/3"})
    began = time.monotonic()
    for _ in range(3):
        assert await billed.leased.exchange(bridge.envelope()) == [b"hello"]
    hint = await retry_after(billed.leased.exchange(bridge.envelope()))
    assert hint is not None
    assert 100 - (time.monotonic() - began) <= hint <= 100
    renewed = await billed.client.leased()
    assert await refusal(renewed.exchange(bridge.envelope())) is OuterStatus.LIMIT_RATE
    assert len(bridge.seen) == 3


async def test_revoked_lease_ends_its_calls(billed: Billed, bridge: FakeBridge) -> None:
    """Also those that began long ago. Other leases are not affected."""
    other = await billed.client.leased()
    call, kept = await billed.leased.open(bridge.envelope()), await other.open(bridge.envelope())
    (lease_id, *_) = billed.ledger.leases
    await billed.ledger.revoke(lease_id)
    assert await refusal(call.read()) is OuterStatus.UNAUTHENTICATED
    await cancelled(bridge.seen[0])
    assert await refusal(billed.leased.exchange(bridge.envelope())) is OuterStatus.LEASE_UNKNOWN
    await finish(kept)


async def test_revocations_are_forgotten_when_the_lease_would_have_ended(
    billed: Billed, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a relay would remember them for as long as its ledger is up."""
    await billed.ledger.revoke("nobody's")
    gate: Any = billed.relay.relay._gate
    await until(lambda: "nobody's" in gate._revoked)
    revoked_at = gate._revoked["nobody's"]
    monkeypatch.setattr(gate, "_clock", lambda: revoked_at + MAX_SECONDS - 1)
    gate._forget()
    assert "nobody's" in gate._revoked
    monkeypatch.setattr(gate, "_clock", lambda: revoked_at + MAX_SECONDS + 1)
    gate._forget()
    assert gate._revoked == {}


@both
async def test_directories_leave_room_for_a_lease(ledger: FakeLedger, start_relay: StartRelay) -> None:
    """A client refuses a response that is larger than the limit, the lease included."""
    claims = {"bridges": [ELSEWHERE] * 15}
    crowd = [FakeBridge() for _ in range(7)]
    for each in crowd:
        each.configs *= 8
        await each.start()
    try:
        relay = await start_relay(*(each.pinned for each in crowd), ledger=ledger.config)
        ledger.add(relay.client.token, claims=claims)
        response = await relay.client.fetch()
        assert 1_200 < len(response.lease) <= 2_048
        assert response.ByteSize() <= MAX_DIRECTORIES_SIZE
        assert len(response.directories) == 6
    finally:
        for each in crowd:
            await each.stop()


@both
async def test_relay_shows_the_ledger_its_own_token(
    bridge: FakeBridge, ledger: FakeLedger, start_relay: StartRelay, tmp_path: Path
) -> None:
    own = "brt_" + "R" * 43
    (tmp_path / "own").touch(mode=0o600)
    (tmp_path / "own").write_text(own)
    relay = await start_relay(bridge.config, ledger=replace(ledger.config, token_file=tmp_path / "own"))
    ledger.add(relay.client.token)
    await relay.client.fetch()
    assert ledger.metadata[-1]["authorization"] == f"Bearer {own}"


@both
async def test_strangers_cannot_fill_the_ledger(
    start_billed: StartBilled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody can show a token that nobody knows. The calls that this causes are counted."""
    monkeypatch.setattr(relay_ledger, "MAX_CALLS", 3)
    billed = await start_billed()
    billed.ledger.answers.clear()
    known = len(billed.ledger.metadata)
    strangers = [Client(str(billed.relay.address), "brt_" + letter * 43) for letter in "ABCD"]
    waiting = [asyncio.create_task(refusal(stranger.directories())) for stranger in strangers[:3]]
    await until(lambda: len(billed.ledger.metadata) == known + 3)
    assert await refusal(strangers[3].directories()) is OuterStatus.OVERLOADED
    billed.ledger.answers.set()
    assert await asyncio.gather(*waiting) == [OuterStatus.UNAUTHENTICATED] * 3
    for stranger in strangers:
        await stranger.channel.close()


@both
async def test_token_that_is_shown_often_costs_the_ledger_one_call(
    start_billed: StartBilled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its clients fetch at the same time or one after the other. Another token's wait for nothing."""
    monkeypatch.setattr(relay_ledger, "MAX_CALLS", 2)
    monkeypatch.setattr(fetched_leases, "SAME_SECONDS", PATIENCE)
    billed = await start_billed()
    other = billed.relay.another_client()
    billed.ledger.add(other.token)
    another = billed.relay.another_client("third")
    billed.ledger.add(another.token)
    known = len(billed.ledger.metadata)
    billed.ledger.answers.clear()
    crowd = [asyncio.create_task(other.fetch()) for _ in range(20)]
    await until(lambda: len(billed.ledger.metadata) == known + 1)
    neighbour = asyncio.create_task(another.fetch())
    await until(lambda: len(billed.ledger.metadata) == known + 2)
    crowd.append(asyncio.create_task(other.fetch()))
    billed.ledger.answers.set()
    await neighbour
    responses = [*await asyncio.gather(*crowd), await other.fetch()]
    assert len({response.lease for response in responses}) == 1
    assert len(billed.ledger.metadata) == known + 2


async def test_lease_that_is_given_again_says_how_long_it_is_valid(
    start_billed: StartBilled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetched_leases, "SAME_SECONDS", PATIENCE)
    billed = await start_billed()
    gate: Any = billed.relay.relay._gate
    monkeypatch.setattr(gate, "_monotonic", lambda: time.monotonic() + 40)
    response = await billed.client.fetch()
    assert 0 < response.lease_seconds <= billed.account.seconds - 40


async def test_revoked_lease_is_not_given_again(
    start_billed: StartBilled, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetched_leases, "SAME_SECONDS", PATIENCE)
    billed = await start_billed()
    (lease_id, *_) = billed.ledger.leases
    gate: Any = billed.relay.relay._gate
    await billed.ledger.revoke(lease_id)
    await until(lambda: lease_id in gate._revoked)
    leased = await billed.client.leased()
    assert await leased.exchange(bridge.envelope()) == [b"hello"]
