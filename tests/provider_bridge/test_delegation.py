"""A bridge without the identity key: its signing key, its delegation, and the delegation's end."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from blindrelay.provider_bridge import Bridge, BridgeConfig, Event, exchange_opener
from blindrelay.provider_bridge.errors import DelegationEndedError
from blindrelay.provider_bridge.keys.delegation_file import MAX_DAYS, check_delegation, read_delegation
from blindrelay.serving import ConfigError, Context
from blindrelay.trust import DirectorySigner, IdentityKey, SignedDelegation
from blindrelay.v1.inner_pb2 import DEADLINE_CLASS_HOUR
from blindrelay.v1.keys_pb2 import KeyDirectory
from blindrelay.v1.outer_status import OuterStatus

from .replica import DAY, DelegatedReplica, FakeTime
from .sealed_caller import calling, health, outer_status, request_head

UNAVAILABLE = OuterStatus.BRIDGE_UNAVAILABLE.value


@pytest.fixture
def replica(tmp_path: Path) -> DelegatedReplica:
    return DelegatedReplica(tmp_path)


def test_unusable_delegation_is_neither_made_nor_read(replica: DelegatedReplica) -> None:
    for days in (0, -1, MAX_DAYS + 1):
        with pytest.raises(ConfigError, match="1 to 366 days"):
            replica.delegate(days)
    with pytest.raises(ConfigError, match="never to itself"):
        replica.delegate(1, signing_key=replica.identity.public_key)
    for text in ("", "00", "zz " + "00" * 64, "0 " + "00" * 64, "00 " + "00" * 64, "00 00"):
        replica.file.write_text(text)
        with pytest.raises(ConfigError, match="not a delegation"):
            replica.start()


def test_delegation_that_does_not_fit_is_refused_at_start(replica: DelegatedReplica) -> None:
    now = int(replica.time.wall)
    found = read_delegation(replica.file)
    forged = replace(found, signed=SignedDelegation(found.signed.delegation, bytes(64)))
    for wrong, signer, when, reason in (
        (found, DirectorySigner.generate(), now, "another signing key"),
        (found, replica.signer, found.not_before - 1, "1970-01-12"),
        (found, replica.signer, found.not_after, "1970-02-11"),
        (forged, replica.signer, now, "not signed by the identity"),
    ):
        with pytest.raises(ConfigError, match=reason):
            check_delegation(replica.file, wrong, signer, when)
    check_delegation(replica.file, found, replica.signer, now)


def test_directories_end_with_the_delegation(replica: DelegatedReplica) -> None:
    replica.delegate(1)
    keys = replica.keys(epoch=DAY // 2)
    assert replica.keys().replica_id != keys.replica_id, "replicas may share a delegation"
    half = DAY // 2
    for seconds, lifetime in ((0, half), (half - 1, half), (41, half - 40), (half - 41, 1)):
        replica.time.advance(seconds)
        announced = KeyDirectory.FromString(keys.directory().directory)
        assert announced.expires_at - int(replica.time.clock.now()) == lifetime
        assert replica.verified(keys).expires_at == announced.expires_at
    replica.time.advance(1)
    with pytest.raises(DelegationEndedError):
        keys.directory()
    assert keys.seconds_left == 0


def test_end_is_announced_a_week_and_a_day_before(replica: DelegatedReplica) -> None:
    keys = replica.keys()
    week, day = [Event.DELEGATION_ENDS_IN_A_WEEK], [Event.DELEGATION_ENDS_IN_A_DAY]
    for days, noted in ((22, []), (1, week), (1, []), (5, day), (1, [Event.DELEGATION_ENDED]), (1, [])):
        replica.noted.clear()
        replica.time.advance(days * DAY)
        for _ in range(3):
            assert keys.seconds_left <= 30 * DAY
        assert replica.noted == noted
    replica.noted.clear()
    replica.delegate(30)
    assert replica.verified(keys), "a new delegation ends the outage"
    assert replica.noted == [Event.DELEGATION_RENEWED]


def test_unusable_new_file_leaves_the_old_delegation(replica: DelegatedReplica) -> None:
    keys = replica.keys()
    before = keys.directory().delegation
    for damage in (
        lambda: replica.file.write_text(""),
        lambda: replica.delegate(90, identity=IdentityKey.generate()),
        lambda: replica.delegate(90, signing_key=os.urandom(32)),
        lambda: replica.file.unlink(),
    ):
        replica.noted.clear()
        damage()
        replica.time.advance(60)
        assert keys.directory().delegation == before
        keys.check_delegation()
        assert replica.noted == [Event.DELEGATION_UNUSABLE], "once for each version of the file"


async def test_bridge_serves_until_its_delegation_ends(
    config: BridgeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blindrelay.provider_bridge.bridge.HEALTH_SECONDS", 0.01)
    replica = DelegatedReplica(tmp_path, days=1, now=time.time())
    served = Bridge(config, replica.start(), clock=replica.time.clock)
    async with calling(served, replica.identity) as caller:
        watch = health(caller, "Watch")(HealthCheckRequest(), timeout=60)
        assert (await watch.read()).status == HealthCheckResponse.SERVING
        assert (await caller.exchange()).status == 200
        request = await caller.seal()
        replica.time.advance(DAY + 1)
        assert await outer_status(await caller.send(request)) == UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await caller.directory()
        assert (error.value.code(), error.value.details()) == UNAVAILABLE
        assert (await watch.read()).status == HealthCheckResponse.NOT_SERVING
        replica.delegate(1)
        assert (await watch.read()).status == HealthCheckResponse.SERVING
        watch.cancel()
    assert Event.DELEGATION_ENDED in replica.noted


async def test_late_first_message_begins_nothing_after_the_delegations_end(
    config: BridgeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    replica = DelegatedReplica(tmp_path, days=1, now=now - DAY + 100)
    replica.time = FakeTime(wall=now)
    first_message = exchange_opener._first_message

    async def late(context: Context) -> bytes:
        replica.time.advance(51)
        return await first_message(context)

    monkeypatch.setattr(exchange_opener, "_first_message", late)
    served = Bridge(config, replica.start(), clock=replica.time.clock)
    async with calling(served, replica.identity) as caller:
        head = request_head(deadline_class=DEADLINE_CLASS_HOUR)
        in_time, too_late = await caller.seal(head), await caller.seal(head)
        assert (await caller.complete(in_time)).status == 200
        assert await outer_status(await caller.send(too_late)) == UNAVAILABLE
