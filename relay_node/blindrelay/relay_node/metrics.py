"""The relay's metrics: a closed list about the process, never about one exchange or one customer."""

from __future__ import annotations

from collections.abc import Sequence

from blindrelay.relay_node.audit_log import AuditLog
from blindrelay.relay_node.replica import Replica
from blindrelay.serving import Admission
from blindrelay.serving.metrics import Metric, whole_steps


def relay_metrics(replicas: Sequence[Replica], admission: Admission, log: AuditLog) -> tuple[Metric, ...]:
    """All that is ever exposed. Figures that a caller can change are updated once a minute, in tens."""
    running = 0

    def look() -> None:
        nonlocal running
        running = whole_steps(admission.running)

    log.at_report(look)
    return (
        Metric("blindrelay_relay_replicas", "Bridge processes in the configuration.", lambda: len(replicas)),
        Metric(
            "blindrelay_relay_replicas_up",
            "Bridge processes that can be used.",
            lambda: sum(replica.up for replica in replicas),
        ),
        Metric(
            "blindrelay_relay_exchanges_running",
            "Running exchanges, in whole tens; counted once a minute.",
            lambda: running,
        ),
        Metric(
            "blindrelay_relay_exchanges_total",
            "Exchanges by outcome, in whole tens; counted once a minute.",
            lambda: {
                outcome: rounded for outcome, count in log.totals.items() if (rounded := whole_steps(count))
            },
            label="outcome",
        ),
    )
