"""Days and months in UTC. Times are Unix seconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from blindrelay.ledger.books.account_rows import Period
from blindrelay.ledger.books.errors import InvalidError

DAY: Final = 86_400
"""Seconds."""
MINUTE: Final = 60
"""Seconds."""

_MONTH: Final = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


def day_start(now: int) -> int:
    """Midnight before."""
    return now - now % DAY


def period_start(period: Period | None, now: int) -> int:
    """When the present period began; 0 if it never ends."""
    if period is None:
        return 0
    return day_start(now) if period is Period.DAY else _month(datetime.fromtimestamp(now, UTC))


def period_end(period: Period | None, now: int) -> int | None:
    """When the next period begins."""
    if period is None:
        return None
    if period is Period.DAY:
        return day_start(now) + DAY
    today = datetime.fromtimestamp(now, UTC)
    return _month(_next(today))


def month_bounds(month: str, now: int) -> tuple[int, int]:
    """When a month ("YYYY-MM"; empty for the present one) and the next begin. Raises InvalidError."""
    if not month:
        first = datetime.fromtimestamp(now, UTC).replace(day=1)
    elif (found := _MONTH.fullmatch(month)) and int(found[1]) in range(1970, 9999):
        first = datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC)
    else:
        raise InvalidError(f'"{month}" is not a month: write it as YYYY-MM')
    return _month(first), _month(_next(first))


def _next(date: datetime) -> datetime:
    years, month = divmod(date.month, 12)
    return date.replace(year=date.year + years, month=month + 1, day=1)


def _month(date: datetime) -> int:
    return int(datetime(date.year, date.month, 1, tzinfo=UTC).timestamp())
