"""The bridge's metrics are a closed list, and no scrape shows one exchange."""

from __future__ import annotations

from pathlib import Path

import pytest

from blindrelay.provider_bridge import EventLog, HeldIdentity, Outcome
from blindrelay.provider_bridge.claims import ClaimMemory
from blindrelay.provider_bridge.epoch_keys import EpochKeys
from blindrelay.provider_bridge.metrics import bridge_metrics
from blindrelay.sealing import IdentityKey

from .fake_time import START, FakeTime
from .test_delegation import DAY, Replica

NAMES = [
    "blindrelay_bridge_oldest_live_key_age_seconds",
    "blindrelay_bridge_live_keys",
    "blindrelay_bridge_delegation_ends_in_seconds",
    "blindrelay_bridge_claims_held",
    "blindrelay_bridge_claims_capacity",
    "blindrelay_bridge_claims_refused_total",
    "blindrelay_bridge_exchanges_total",
]


class Scraped:
    """A bridge's parts, and what a scrape reads of them."""

    def __init__(self, replica: Replica | None = None) -> None:
        self.time = FakeTime() if replica is None else replica.time
        signatory = HeldIdentity(IdentityKey.generate()) if replica is None else replica.start()
        self.keys = EpochKeys(signatory, self.time.clock, epoch=3_600)
        self.claims = ClaimMemory(self.time.clock)
        self.log = EventLog()
        self.metrics = bridge_metrics(self.keys, self.claims, self.log)

    def read(self, name: str) -> dict[str, float]:
        (metric,) = (metric for metric in self.metrics if metric.name == f"blindrelay_bridge_{name}")
        return metric.values()


@pytest.fixture
def scraped() -> Scraped:
    return Scraped()


def test_the_list_is_closed(scraped: Scraped) -> None:
    assert [metric.name for metric in scraped.metrics] == NAMES
    assert [metric.label for metric in scraped.metrics if metric.label] == ["outcome"]


def test_keys(scraped: Scraped) -> None:
    scraped.time.advance(2_000)
    scraped.keys.advance()
    assert scraped.read("oldest_live_key_age_seconds") == {"": 2_000}
    assert scraped.read("live_keys") == {"": 2}


def test_a_delegations_end(tmp_path: Path, scraped: Scraped) -> None:
    assert scraped.read("delegation_ends_in_seconds") == {}, "the identity key has no end"
    replica = Replica(tmp_path, days=30)
    delegated = Scraped(replica)
    assert delegated.read("delegation_ends_in_seconds") == {"": 30 * DAY}
    replica.time.advance(31 * DAY)
    assert delegated.read("delegation_ends_in_seconds") == {"": -DAY}


def test_one_claim_more_or_less_is_not_seen(scraped: Scraped) -> None:
    assert scraped.read("claims_held") == {"": 0}
    for number in range(1_001):
        scraped.claims.claim(number.to_bytes(16, "big"), START)
        assert scraped.read("claims_held") == {"": 1_000 if number < 1_000 else 2_000}
    assert scraped.read("claims_capacity") == {"": 1_000_000}


def test_exchanges_are_counted_when_they_are_reported(scraped: Scraped) -> None:
    for outcome in (Outcome.COMPLETED, Outcome.COMPLETED, Outcome.NO_ROOM):
        scraped.log.count(outcome)
    assert scraped.read("exchanges_total") == {}
    assert scraped.read("claims_refused_total") == {"": 0}
    for _ in range(2):
        scraped.log.report()
        assert scraped.read("exchanges_total") == {"completed": 2, "no_room": 1}
        assert scraped.read("claims_refused_total") == {"": 1}
    scraped.log.count(Outcome.COMPLETED)
    scraped.log.report()
    assert scraped.read("exchanges_total") == {"completed": 3, "no_room": 1}
