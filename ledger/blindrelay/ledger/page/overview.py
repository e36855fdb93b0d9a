"""The first page of the operator: what all accounts use, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from blindrelay.admin.v1.admin_pb2 import DayUnits, GetOverviewRequest, GetSettlementRequest
from blindrelay.ledger.page.site import Visit

CHART_WIDTH: Final = 600
"""In the chart's own units, like the height."""

CHART_HEIGHT: Final = 120


@dataclass(frozen=True)
class Bar:
    """One day in the chart."""

    day: str
    units: int
    exchanges: int
    x: float
    width: float
    height: float


async def overview(visit: Visit) -> Response:
    """The page at /."""
    seen = await visit.ask(visit.admin.GetOverview, GetOverviewRequest())
    settlement = await visit.ask(visit.admin.GetSettlement, GetSettlementRequest())
    refusals = sorted(seen.refusals, key=lambda each: -each.count)
    return visit.page(
        "overview.html",
        overview=seen,
        settlement=settlement,
        refusals=refusals,
        bars=bars(seen.days),
        chart=(CHART_WIDTH, CHART_HEIGHT),
    )


def bars(days: Sequence[DayUnits]) -> list[Bar]:
    """The days as bars. The highest is as high as the chart, and every day with units is visible."""
    most = max((each.units for each in days), default=0)
    step = CHART_WIDTH / max(len(days), 1)
    return [
        Bar(
            each.day,
            each.units,
            each.exchanges,
            round(index * step, 1),
            round(step * 0.8, 1),
            round(max(CHART_HEIGHT * each.units / most, 1), 1) if each.units else 0,
        )
        for index, each in enumerate(days)
    ]
