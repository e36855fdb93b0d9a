"""The bridge's metrics: a closed list, of the process and never of one exchange."""

from __future__ import annotations

import math
from typing import Final

from blindrelay.provider_bridge.claims import ClaimMemory
from blindrelay.provider_bridge.epoch_keys import EpochKeys
from blindrelay.provider_bridge.events import EventLog, Outcome
from blindrelay.serving.metrics import Metric

HELD_STEP: Final = 1_000
"""Claims are counted up to the next thousand, and exchanges once a minute: no scrape shows one of them."""


def bridge_metrics(keys: EpochKeys, claims: ClaimMemory, log: EventLog) -> tuple[Metric, ...]:
    """All that is ever exposed."""

    def delegation_ends_in() -> float | None:
        left = keys.seconds_left
        return left if math.isfinite(left) else None

    return (
        Metric(
            "blindrelay_bridge_oldest_live_key_age_seconds",
            "Age of the oldest sealing key in memory: what was sealed since could be opened by a thief.",
            lambda: keys.oldest_age,
        ),
        Metric("blindrelay_bridge_live_keys", "Sealing keys in memory.", lambda: keys.live),
        Metric(
            "blindrelay_bridge_delegation_ends_in_seconds",
            "Until the delegation ends, below 0 since it ended; absent where the identity key is held.",
            delegation_ends_in,
        ),
        Metric(
            "blindrelay_bridge_claims_held",
            "Exchanges remembered against replay, rounded up to thousands.",
            lambda: -(-len(claims) // HELD_STEP) * HELD_STEP,
        ),
        Metric(
            "blindrelay_bridge_claims_capacity",
            "Exchanges that can be remembered; one peer alone can hold half of them.",
            lambda: claims.capacity,
        ),
        Metric(
            "blindrelay_bridge_claims_refused_total",
            "Exchanges refused because there was no room to remember them; counted once a minute.",
            lambda: log.totals.get(Outcome.NO_ROOM.value, 0),
        ),
        Metric(
            "blindrelay_bridge_exchanges_total",
            "Exchanges by how they ended; counted once a minute.",
            lambda: log.totals,
            label="outcome",
        ),
    )
