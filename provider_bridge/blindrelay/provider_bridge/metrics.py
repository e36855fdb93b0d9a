"""The bridge's metrics: a closed list about the process, never about one exchange."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from blindrelay.provider_bridge.aggregate.attempts import Attempts
from blindrelay.provider_bridge.audit_log import AuditLog, Outcome
from blindrelay.provider_bridge.billing.outbox import Outbox
from blindrelay.provider_bridge.claims import ClaimMemory
from blindrelay.provider_bridge.clock import Clock
from blindrelay.provider_bridge.keys.epoch_keys import EpochKeys
from blindrelay.serving.metrics import Metric, whole_steps

HELD_STEP: Final = 1_000
"""Claims held are counted once a minute and shown in whole thousands. A scrape shows in which minute the
count passed a thousand, and nothing in between."""


def bridge_metrics(
    keys: EpochKeys,
    claims: ClaimMemory,
    clock: Clock,
    log: AuditLog,
    attempts: Attempts,
    outbox: Outbox | None = None,
) -> tuple[Metric, ...]:
    """All that is exposed; `outbox` is that of a bridge that keeps bills."""
    receipts = () if outbox is None else (_receipts_metric(outbox, log),)
    exchanges = (*_exchange_metrics(claims, log), *_pool_metrics(attempts, log))
    return (*_key_metrics(keys), *_clock_metrics(clock), *exchanges, *receipts)


def _receipts_metric(outbox: Outbox, log: AuditLog) -> Metric:
    waiting = 0

    def count() -> None:
        nonlocal waiting
        waiting = whole_steps(outbox.count)

    log.at_report(count)
    return Metric(
        "blindrelay_bridge_receipts_waiting",
        "Receipts that no ledger has acknowledged, in whole tens; counted once a minute.",
        lambda: waiting,
    )


def _key_metrics(keys: EpochKeys) -> Iterator[Metric]:
    yield Metric(
        "blindrelay_bridge_oldest_live_key_age_seconds",
        "Age of the oldest sealing key in memory: what was sealed since could be opened by a thief.",
        lambda: keys.oldest_age,
    )
    yield Metric("blindrelay_bridge_live_keys", "Sealing keys in memory.", lambda: keys.live)
    yield Metric(
        "blindrelay_bridge_delegation_ends_in_seconds",
        "Until the delegation ends, below 0 since it ended; absent where the identity key is held.",
        lambda: keys.seconds_left if math.isfinite(keys.seconds_left) else None,
    )


def _clock_metrics(clock: Clock) -> Iterator[Metric]:
    yield Metric(
        "blindrelay_bridge_clock_followed_seconds_total",
        "Seconds by which the wall clock was set forward since the start; the bridge's time followed.",
        lambda: round(clock.followed, 3),
    )
    yield Metric(
        "blindrelay_bridge_clock_ahead_seconds",
        "Seconds by which the bridge's time is ahead of a wall clock that was set back.",
        lambda: round(clock.ahead, 3),
    )


def _exchange_metrics(claims: ClaimMemory, log: AuditLog) -> Iterator[Metric]:
    """Exchanges are counted since the start, once a minute, and shown in whole tens."""
    held = 0

    def count_held() -> None:
        nonlocal held
        held = whole_steps(len(claims), HELD_STEP)

    def counted() -> dict[str, int]:
        steps = {outcome: whole_steps(count) for outcome, count in log.totals.items()}
        return {outcome: count for outcome, count in steps.items() if count}

    log.at_report(count_held)
    yield Metric(
        "blindrelay_bridge_claims_held",
        "Exchanges remembered against replay, in whole thousands; counted once a minute.",
        lambda: held,
    )
    yield Metric(
        "blindrelay_bridge_claims_capacity",
        "Exchanges that can be remembered, by all peers together.",
        lambda: claims.capacity,
    )
    yield Metric(
        "blindrelay_bridge_claims_refused_total",
        "Exchanges refused for want of room to remember them, in whole tens; counted once a minute.",
        lambda: counted().get(Outcome.NO_ROOM.value, 0),
    )
    yield Metric(
        "blindrelay_bridge_exchanges_total",
        "Exchanges by how they ended, in whole tens; counted once a minute.",
        counted,
        label="outcome",
    )


def _pool_metrics(attempts: Attempts, log: AuditLog) -> Iterator[Metric]:
    """Attempts are counted since the start, once a minute, and shown in whole tens."""
    shown: dict[str, int] = {}
    resting = 0

    def count() -> None:
        nonlocal shown, resting
        steps = {outcome: whole_steps(number) for outcome, number in attempts.counts.items()}
        shown, resting = (
            {outcome: number for outcome, number in steps.items() if number},
            attempts.health.resting,
        )

    log.at_report(count)
    yield Metric(
        "blindrelay_bridge_attempts_total",
        "Calls of members of pools by how they ended, in whole tens; counted once a minute.",
        lambda: shown,
        label="outcome",
    )
    yield Metric(
        "blindrelay_bridge_pool_rests",
        "Providers, credentials and models that rest after a failure; counted once a minute.",
        lambda: resting,
    )
