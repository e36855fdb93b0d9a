"""The ledger's metrics: a closed list about the process and all accounts together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from blindrelay.ledger.books import Settlement as Figures
from blindrelay.ledger.settlement import Settlement
from blindrelay.serving.metrics import Metric, whole_steps


def ledger_metrics(
    nodes: Callable[[], int],
    refusals: Counter[str],
    settlements: Sequence[Settlement],
    figures: Callable[[], Figures | None],
    now: Callable[[], float],
) -> tuple[Metric, ...]:
    """All that is ever exposed. `figures` are the books' own, some seconds old, or None before the first."""
    return (*_of_process(nodes, refusals, settlements), *_of_books(figures, now))


def _of_process(
    nodes: Callable[[], int], refusals: Counter[str], settlements: Sequence[Settlement]
) -> tuple[Metric, ...]:
    return (
        Metric("blindrelay_ledger_nodes", "Relay processes that report.", nodes),
        Metric("blindrelay_ledger_bridges", "Bridges in the configuration.", lambda: len(settlements)),
        Metric(
            "blindrelay_ledger_bridges_up",
            "Bridges that send their receipts, to this ledger or another with the same books.",
            lambda: sum(each.collected for each in settlements),
        ),
        Metric(
            "blindrelay_ledger_settled_total",
            "Receipts that settled an exchange, in whole tens.",
            lambda: whole_steps(sum(each.settled for each in settlements)),
        ),
        Metric(
            "blindrelay_ledger_rejected_total",
            "Receipts, watermarks and price tables that did not verify.",
            lambda: sum(each.rejected for each in settlements),
        ),
        Metric(
            "blindrelay_ledger_refusals_total",
            "Refused leases and exchanges by outer status, in whole tens.",
            lambda: {status: whole for status, count in refusals.items() if (whole := whole_steps(count))},
            label="status",
        ),
    )


def _of_books(figures: Callable[[], Figures | None], now: Callable[[], float]) -> tuple[Metric, ...]:
    def of_books(read: Callable[[Figures], float]) -> Callable[[], float | None]:
        return lambda: None if (known := figures()) is None else read(known)

    def oldest(known: Figures) -> float:
        return 0 if known.oldest_open_at is None else max(0, now() - known.oldest_open_at)

    return (
        Metric(
            "blindrelay_ledger_open_exchanges",
            "Exchanges neither settled nor released, in whole tens.",
            of_books(lambda known: whole_steps(known.open)),
        ),
        Metric("blindrelay_ledger_oldest_open_seconds", "Age of the oldest such exchange.", of_books(oldest)),
        Metric(
            "blindrelay_ledger_lapsed",
            "Exchanges that lapsed without a receipt and are still open to one, in whole tens.",
            of_books(lambda known: whole_steps(known.lapsed)),
        ),
        Metric(
            "blindrelay_ledger_waiting", "Receipts without room yet.", of_books(lambda known: known.waiting)
        ),
        Metric(
            "blindrelay_ledger_orphans",
            "Receipts of exchanges that no relay reported.",
            of_books(lambda known: known.orphans),
        ),
        Metric(
            "blindrelay_ledger_contradictions",
            "Receipts that contradict others, or a watermark.",
            of_books(lambda known: known.contradictions),
        ),
    )
