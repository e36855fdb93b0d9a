"""Metrics and log are closed lists, with counts of exchanges instead of exchanges."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from blindrelay.provider_bridge import AuditLog, Event, HeldIdentity, Outcome, ProviderError, request_body
from blindrelay.provider_bridge.aggregate.attempts import Attempts
from blindrelay.provider_bridge.aggregate.health import Member
from blindrelay.provider_bridge.billing.outbox import Outbox
from blindrelay.provider_bridge.claims import ClaimMemory
from blindrelay.provider_bridge.keys.epoch_keys import EpochKeys
from blindrelay.provider_bridge.metrics import bridge_metrics
from blindrelay.provider_bridge.upstream.failures import Failure
from blindrelay.serving.metrics import Metric
from blindrelay.trust import IdentityKey, SignedDelegation
from blindrelay.v1.inner_pb2 import EXECUTION_STARTED
from blindrelay.v1.receipts_pb2 import SignedReceipt
from tests.patience import PATIENCE, until

from .conftest import Serve
from .replica import DAY, START, DelegatedReplica, FakeTime, W
from .scripted_provider import EVENT_STREAM, ScriptedProvider, raw, response
from .sealed_caller import outer_status, request_head

NAMES = [
    "blindrelay_bridge_oldest_live_key_age_seconds",
    "blindrelay_bridge_live_keys",
    "blindrelay_bridge_delegation_ends_in_seconds",
    "blindrelay_bridge_clock_followed_seconds_total",
    "blindrelay_bridge_clock_ahead_seconds",
    "blindrelay_bridge_claims_held",
    "blindrelay_bridge_claims_capacity",
    "blindrelay_bridge_claims_refused_total",
    "blindrelay_bridge_exchanges_total",
    "blindrelay_bridge_attempts_total",
    "blindrelay_bridge_pool_rests",
]


class Scraped:
    def __init__(self, replica: DelegatedReplica | None = None) -> None:
        self.time = FakeTime() if replica is None else replica.time
        signatory = HeldIdentity(IdentityKey.generate()) if replica is None else replica.start()
        self.keys = EpochKeys(signatory, self.time.clock, epoch=3_600)
        self.claims = ClaimMemory(self.time.clock)
        self.log = AuditLog()
        self.attempts = Attempts()
        self.metrics = self.all()

    def all(self, outbox: Outbox | None = None) -> tuple[Metric, ...]:
        return bridge_metrics(self.keys, self.claims, self.time.clock, self.log, self.attempts, outbox)

    def read(self, name: str) -> dict[str, float]:
        (metric,) = (metric for metric in self.metrics if metric.name == f"blindrelay_bridge_{name}")
        return metric.values()


def test_receipts_that_wait_are_counted_in_tens(tmp_path: Path) -> None:
    scraped, outbox = Scraped(), Outbox(tmp_path / "outbox.db")
    metrics = scraped.all(outbox)
    assert [metric.name for metric in metrics] == [*NAMES, "blindrelay_bridge_receipts_waiting"]
    for number in range(19):
        receipt = SignedReceipt(receipt=b"%d" % number, signature=bytes(64))
        outbox.add(bytes(16), bytes(16), receipt, 1, SignedDelegation(b"delegation", b"signature"))
    assert metrics[-1].values() == {"": 0}, "counted once a minute"
    scraped.log.report()
    assert metrics[-1].values() == {"": 10}
    outbox.close()


def test_delegation_shows_its_end(tmp_path: Path) -> None:
    assert Scraped().read("delegation_ends_in_seconds") == {}, "the identity key has no end"
    replica = DelegatedReplica(tmp_path, days=30)
    delegated = Scraped(replica)
    assert delegated.read("delegation_ends_in_seconds") == {"": 30 * DAY}
    replica.time.advance(31 * DAY)
    assert delegated.read("delegation_ends_in_seconds") == {"": -DAY}


def test_keys_and_steps_of_the_clock_are_shown() -> None:
    scraped = Scraped()
    scraped.time.wall += 600
    assert scraped.read("clock_ahead_seconds") == {"": 0}
    assert scraped.read("clock_followed_seconds_total") == {"": 600}
    scraped.time.wall -= 100
    scraped.time.advance(1_400)
    assert scraped.read("clock_ahead_seconds") == {"": 100}
    scraped.keys.advance()
    assert scraped.read("oldest_live_key_age_seconds") == {"": 2_000}
    assert scraped.read("live_keys") == {"": 2}


def test_claims_are_counted_once_a_minute_and_in_thousands() -> None:
    scraped = Scraped()
    assert scraped.read("claims_capacity") == {"": 1_000_000}
    for new, shown in ((range(1_999), 1_000), (range(1_999, 2_000), 2_000)):
        before = scraped.read("claims_held")
        for number in new:
            scraped.claims.claim(number.to_bytes(16, "big"), START)
        assert scraped.read("claims_held") == before
        scraped.log.report()
        assert scraped.read("claims_held") == {"": shown}
    scraped.time.advance(W + 1)
    scraped.log.report()
    assert scraped.read("claims_held") == {"": 0}


def test_exchanges_are_counted_once_a_minute_and_in_tens() -> None:
    scraped = Scraped()
    for count, shown in ((9, {}), (1, {"completed": 10}), (9, {"completed": 10}), (21, {"completed": 40})):
        before = scraped.read("exchanges_total")
        for _ in range(count):
            scraped.log.count(Outcome.COMPLETED)
        assert scraped.read("exchanges_total") == before
        for _ in range(2):
            scraped.log.report()
            assert scraped.read("exchanges_total") == shown
    assert scraped.read("claims_refused_total") == {"": 0}
    for _ in range(10):
        scraped.log.count(Outcome.NO_ROOM)
    scraped.log.report()
    assert scraped.read("claims_refused_total") == {"": 10}


def test_attempts_are_counted_once_a_minute_and_in_tens() -> None:
    scraped = Scraped()
    scraped.attempts.counts.update({"served": 25, "refused": 9})
    scraped.attempts.health.failed(Member("openai", "a"), 60.0, 60.0)
    assert (scraped.read("attempts_total"), scraped.read("pool_rests")) == ({}, {"": 0})
    scraped.log.report()
    assert (scraped.read("attempts_total"), scraped.read("pool_rests")) == ({"served": 20}, {"": 1})


EVENTS = {event.name.lower() for event in Event} | {"exchanges", "fault"}


def test_what_a_caller_can_provoke_is_logged_once_a_minute() -> None:
    lines: list[str] = []
    log = AuditLog(lines.append)
    for event in (Event.TOKENS_UNREADABLE, Event.CERTIFICATES_UNUSABLE, Event.CLAIMS_FULL):
        log.note(event)
    log.count(Outcome.REFUSED)
    log.count_error(ProviderError(Failure.CUT, "x", EXECUTION_STARTED))
    assert lines == []
    log.report()
    assert len(lines) == 4
    assert json.loads(lines[-1])["outcomes"] == {"provider_cut": 10, "refused": 10}


async def test_exchanges_leave_counts_and_nothing_else(
    serve: Serve, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_body, "CANCELLATION_SECONDS", PATIENCE)
    lines: list[str] = []
    log = AuditLog(lines.append)
    async with serve(log=log) as caller:
        provider.script = response(b"the canary", headers=b"x-request-id: canary\r\n")
        assert (await caller.exchange()).status == 200
        got = await caller.exchange(request_head("https://canary.example/v1/canary?canary"))
        assert got.code == "NOT_ALLOWED"
        await outer_status(await caller.send(replace(await caller.seal(), messages=[b"canary"])))
        provider.script = raw(EVENT_STREAM)
        responding = await caller.send(await caller.seal())
        await responding.read()
        sending = await caller.begin(await caller.seal(body=b"x" * 500_000))
        await sending.initial_metadata()  # it is claimed
        for call in (responding, sending):
            call.cancel()
        await until(lambda: not caller.served.admission.running)
        await provider.idle()
    assert log.totals == {"completed": 1, "not_allowed": 1, "refused": 1, "cancelled": 2}
    log.report()
    said = {json.loads(line)["event"] for line in lines}
    assert "exchanges" in said <= EVENTS
    for secret in ("canary", str(provider.port)):
        assert secret not in "".join(lines)
