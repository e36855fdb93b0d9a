"""Sealing keys: drawn, announced, replaced and dropped; and the delegation under which they are announced."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from blindrelay.provider_bridge import Bridge, BridgeConfig, Event, HeldIdentity, exchange_opener
from blindrelay.provider_bridge.errors import DelegationEndedError
from blindrelay.provider_bridge.keys import epoch_keys
from blindrelay.provider_bridge.keys.delegation_file import MAX_DAYS, check_delegation, read_delegation
from blindrelay.provider_bridge.keys.epoch_keys import EpochKeys
from blindrelay.serving import ConfigError, Context
from blindrelay.trust import (
    DirectoryHistory,
    DirectorySigner,
    IdentityKey,
    SignedDelegation,
    VerifiedDirectory,
    verify_directory,
)
from blindrelay.v1.inner_pb2 import DEADLINE_CLASS_HOUR
from blindrelay.v1.keys_pb2 import KeyDirectory
from blindrelay.v1.outer_status import OuterStatus
from tests.patience import until

from .replica import DAY, START, DelegatedReplica, FakeTime, W
from .sealed_caller import calling, health, outer_status, request_head

EPOCH = 3_600


class Replica:
    """Epoch keys under a clock that a test moves, and a client that judges each directory."""

    def __init__(self, next_identity_hash: bytes = b"") -> None:
        self.time = FakeTime(START + 7)
        self.identity = IdentityKey.generate()
        self.changes: list[float] = []
        self.history = DirectoryHistory()
        held = HeldIdentity(self.identity, next_identity_hash)
        self.keys = EpochKeys(held, self.time.clock, epoch=EPOCH, on_change=self._changed)

    def _changed(self) -> None:
        self.changes.append(self.time.wall)

    @property
    def now(self) -> int:
        return int(self.time.clock.now())

    def directory(self) -> VerifiedDirectory:
        directory = verify_directory(self.keys.directory(), self.identity.public_key, self.now)
        self.history.judge(directory)
        return directory


@pytest.fixture
def replica() -> Replica:
    return Replica()


def test_clients_with_clocks_off_by_the_window_find_a_key(replica: Replica) -> None:
    for skew in (-W, W):
        issued_at = -(-(replica.now + skew) // 10) * 10
        keys = verify_directory(
            replica.keys.directory(), replica.identity.public_key, replica.now + skew
        ).keys
        assert any(key.takes(issued_at) for key in keys)


def test_next_key_is_announced_before_the_present_one_ends_and_is_dropped(replica: Replica) -> None:
    (first,) = replica.directory().keys
    assert (first.not_before, first.not_after) == (START - W, START + EPOCH), "in steps of ten seconds"
    held = replica.keys.find(first.key_id)
    assert held is not None
    assert held.config == first.config
    assert int(replica.keys.oldest_age) == 7

    replica.time.advance(EPOCH / 2 - 10)
    (only,) = (before := replica.directory()).keys
    assert (only, replica.changes) == (first, []), "the first key goes without saying"
    replica.time.advance(20)
    after = replica.directory()
    second = after.keys[-1]
    assert (after.keys, len(replica.changes)) == ((first, second), 1)
    assert after.sequence > before.sequence, "it is signed again, though the last one is new"
    assert (second.not_before, second.not_after) == (replica.now // 10 * 10, replica.now // 10 * 10 + EPOCH)
    assert (replica.keys.live, int(replica.keys.oldest_age)) == (2, EPOCH // 2 + 17)

    replica.time.advance(first.not_after + W - replica.time.clock.now())
    assert first not in replica.directory().keys
    assert replica.keys.find(first.key_id) is not None, "what a slow client sealed is still on its way"
    assert int(replica.keys.oldest_age) == EPOCH + W, "the most that there can be"
    replica.time.advance(0.001)
    assert replica.keys.find(first.key_id) is None
    assert replica.changes[-1] == replica.time.wall
    assert replica.keys.oldest_age < EPOCH


def test_some_announced_key_takes_an_exchange_at_any_moment(replica: Replica) -> None:
    seen = set()
    for _ in range(30):
        keys = replica.directory().keys
        assert any(key.takes(replica.now // 10 * 10) for key in keys)
        assert len(keys) <= 3
        seen |= {key.key_id for key in keys}
        replica.time.advance(397)
    assert len(seen) > 5
    replica.time.advance(10 * EPOCH)  # the machine slept
    (key,) = replica.directory().keys
    assert key.takes(replica.now // 10 * 10)


def test_directory_is_signed_again_after_thirty_seconds(replica: Replica) -> None:
    first = replica.directory()
    assert first.expires_at - first.issued_at == EPOCH
    replica.time.advance(29)
    assert replica.directory().signed == first.signed
    replica.time.advance(1)
    second = replica.directory()
    assert (second.sequence, second.issued_at) == (first.sequence + 1, first.issued_at + 30)


def test_every_directory_announces_the_next_identity() -> None:
    for announced in (b"", b"\x07" * 32):
        replica = Replica(next_identity_hash=announced)
        for _ in range(2):
            assert replica.directory().next_identity_hash == announced
            replica.time.advance(EPOCH)


async def test_keys_are_dropped_and_the_delegations_end_is_told_without_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch_keys, "_CHECK_EVERY", 0.001)
    replica = DelegatedReplica(tmp_path, days=1)
    keys = replica.keys(EPOCH)
    first = set(keys._keys)
    task = asyncio.create_task(keys.keep_current())
    replica.time.advance(EPOCH + W + 20)
    await until(lambda: bool(replica.noted) and not first & set(keys._keys))
    task.cancel()


UNAVAILABLE = OuterStatus.BRIDGE_UNAVAILABLE.value


@pytest.fixture
def delegated(tmp_path: Path) -> DelegatedReplica:
    return DelegatedReplica(tmp_path)


def test_unusable_delegation_is_neither_made_nor_read(delegated: DelegatedReplica) -> None:
    for days in (0, -1, MAX_DAYS + 1):
        with pytest.raises(ConfigError, match="1 to 366 days"):
            delegated.delegate(days)
    with pytest.raises(ConfigError, match="never to itself"):
        delegated.delegate(1, signing_key=delegated.identity.public_key)
    for text in ("", "00", "zz " + "00" * 64, "0 " + "00" * 64, "00 " + "00" * 64, "00 00"):
        delegated.file.write_text(text)
        with pytest.raises(ConfigError, match="not a delegation"):
            delegated.start()


def test_delegation_that_does_not_fit_is_refused_at_start(delegated: DelegatedReplica) -> None:
    now = int(delegated.time.wall)
    found = read_delegation(delegated.file)
    forged = replace(found, signed=SignedDelegation(found.signed.delegation, bytes(64)))
    for wrong, signer, when, reason in (
        (found, DirectorySigner.generate(), now, "another signing key"),
        (found, delegated.signer, found.not_before - 1, "1970-01-12"),
        (found, delegated.signer, found.not_after, "1970-02-11"),
        (forged, delegated.signer, now, "not signed by the identity"),
    ):
        with pytest.raises(ConfigError, match=reason):
            check_delegation(delegated.file, wrong, signer, when)
    check_delegation(delegated.file, found, delegated.signer, now)


def test_directories_end_with_the_delegation(delegated: DelegatedReplica) -> None:
    delegated.delegate(1)
    keys = delegated.keys(epoch=DAY // 2)
    assert delegated.keys().replica_id != keys.replica_id, "replicas may share a delegation"
    half = DAY // 2
    for seconds, lifetime in ((0, half), (half - 1, half), (41, half - 40), (half - 41, 1)):
        delegated.time.advance(seconds)
        announced = KeyDirectory.FromString(keys.directory().directory)
        assert announced.expires_at - int(delegated.time.clock.now()) == lifetime
        assert delegated.verified(keys).expires_at == announced.expires_at
    delegated.time.advance(1)
    with pytest.raises(DelegationEndedError):
        keys.directory()
    assert keys.seconds_left == 0


def test_end_is_announced_a_week_and_a_day_before(delegated: DelegatedReplica) -> None:
    keys = delegated.keys()
    week, day = [Event.DELEGATION_ENDS_IN_A_WEEK], [Event.DELEGATION_ENDS_IN_A_DAY]
    for days, noted in ((22, []), (1, week), (1, []), (5, day), (1, [Event.DELEGATION_ENDED]), (1, [])):
        delegated.noted.clear()
        delegated.time.advance(days * DAY)
        for _ in range(3):
            assert keys.seconds_left <= 30 * DAY
        assert delegated.noted == noted
    delegated.noted.clear()
    delegated.delegate(30)
    assert delegated.verified(keys), "a new delegation ends the outage"
    assert delegated.noted == [Event.DELEGATION_RENEWED]


def test_unusable_new_file_leaves_the_old_delegation(delegated: DelegatedReplica) -> None:
    keys = delegated.keys()
    before = keys.directory().delegation
    for damage in (
        lambda: delegated.file.write_text(""),
        lambda: delegated.delegate(90, identity=IdentityKey.generate()),
        lambda: delegated.delegate(90, signing_key=os.urandom(32)),
        lambda: delegated.file.unlink(),
    ):
        delegated.noted.clear()
        damage()
        delegated.time.advance(60)
        assert keys.directory().delegation == before
        keys.check_delegation()
        assert delegated.noted == [Event.DELEGATION_UNUSABLE], "once for each version of the file"


async def test_bridge_serves_until_its_delegation_ends(
    config: BridgeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blindrelay.provider_bridge.bridge.HEALTH_SECONDS", 0.01)
    delegated = DelegatedReplica(tmp_path, days=1, now=time.time())
    served = Bridge(config, delegated.start(), clock=delegated.time.clock)
    async with calling(served, delegated.identity) as caller:
        watch = health(caller, "Watch")(HealthCheckRequest(), timeout=60)
        assert (await watch.read()).status == HealthCheckResponse.SERVING
        assert (await caller.exchange()).status == 200
        request = await caller.seal()
        delegated.time.advance(DAY + 1)
        assert await outer_status(await caller.send(request)) == UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await caller.directory()
        assert (error.value.code(), error.value.details()) == UNAVAILABLE
        assert (await watch.read()).status == HealthCheckResponse.NOT_SERVING
        delegated.delegate(1)
        assert (await watch.read()).status == HealthCheckResponse.SERVING
        watch.cancel()
    assert Event.DELEGATION_ENDED in delegated.noted


async def test_late_first_message_begins_nothing_after_the_delegations_end(
    config: BridgeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    delegated = DelegatedReplica(tmp_path, days=1, now=now - DAY + 100)
    delegated.time = FakeTime(wall=now)
    first_message = exchange_opener._first_message

    async def late(context: Context) -> bytes:
        delegated.time.advance(51)
        return await first_message(context)

    monkeypatch.setattr(exchange_opener, "_first_message", late)
    served = Bridge(config, delegated.start(), clock=delegated.time.clock)
    async with calling(served, delegated.identity) as caller:
        head = request_head(deadline_class=DEADLINE_CLASS_HOUR)
        in_time, too_late = await caller.seal(head), await caller.seal(head)
        assert (await caller.complete(in_time)).status == 200
        assert await outer_status(await caller.send(too_late)) == UNAVAILABLE
