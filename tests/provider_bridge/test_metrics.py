"""The bridge's metrics are a closed list, and no scrape shows one exchange."""

from __future__ import annotations

from pathlib import Path

import pytest

from blindrelay.provider_bridge import AuditLog, HeldIdentity, Outcome
from blindrelay.provider_bridge.claims import ClaimMemory
from blindrelay.provider_bridge.keys.epoch_keys import EpochKeys
from blindrelay.provider_bridge.metrics import bridge_metrics
from blindrelay.trust import IdentityKey

from .replica import DAY, START, DelegatedReplica, FakeTime, W

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
]


class Scraped:
    """A bridge's parts, and what a scrape reads of them."""

    def __init__(self, replica: DelegatedReplica | None = None) -> None:
        self.time = FakeTime() if replica is None else replica.time
        signatory = HeldIdentity(IdentityKey.generate()) if replica is None else replica.start()
        self.keys = EpochKeys(signatory, self.time.clock, epoch=3_600)
        self.claims = ClaimMemory(self.time.clock)
        self.log = AuditLog()
        self.metrics = bridge_metrics(self.keys, self.claims, self.time.clock, self.log)

    def read(self, name: str) -> dict[str, float]:
        (metric,) = (metric for metric in self.metrics if metric.name == f"blindrelay_bridge_{name}")
        return metric.values()


@pytest.fixture
def scraped() -> Scraped:
    return Scraped()


def test_list_is_closed(scraped: Scraped) -> None:
    assert [metric.name for metric in scraped.metrics] == NAMES
    assert [metric.label for metric in scraped.metrics if metric.label] == ["outcome"]


def test_delegation_shows_its_end(tmp_path: Path, scraped: Scraped) -> None:
    assert scraped.read("delegation_ends_in_seconds") == {}, "the identity key has no end"
    replica = DelegatedReplica(tmp_path, days=30)
    delegated = Scraped(replica)
    assert delegated.read("delegation_ends_in_seconds") == {"": 30 * DAY}
    replica.time.advance(31 * DAY)
    assert delegated.read("delegation_ends_in_seconds") == {"": -DAY}


def test_keys_and_steps_of_the_clock_are_shown(scraped: Scraped) -> None:
    scraped.time.wall += 600
    assert scraped.read("clock_ahead_seconds") == {"": 0}
    assert scraped.read("clock_followed_seconds_total") == {"": 600}
    scraped.time.wall -= 100
    scraped.time.advance(1_400)
    assert scraped.read("clock_ahead_seconds") == {"": 100}
    scraped.keys.advance()
    assert scraped.read("oldest_live_key_age_seconds") == {"": 2_000}
    assert scraped.read("live_keys") == {"": 2}


def test_claims_are_counted_once_a_minute_and_in_thousands(scraped: Scraped) -> None:
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


def test_exchanges_are_counted_once_a_minute_and_in_tens(scraped: Scraped) -> None:
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
