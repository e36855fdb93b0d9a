"""Durations as HdrHistograms: three significant digits from a microsecond to an hour, none averaged away."""

from __future__ import annotations

from typing import Any, Final

from hdrh.histogram import HdrHistogram

PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)

_LONGEST: Final = 3_600_000_000
_DIGITS: Final = 3
_MICROSECONDS: Final = 1_000_000


class Latencies:
    """Durations of one kind, given in seconds."""

    def __init__(self) -> None:
        self._histogram: Any = HdrHistogram(1, _LONGEST, _DIGITS)

    def record(self, seconds: float) -> None:
        """Less than a microsecond counts as one, more than an hour as that."""
        self._histogram.record_value(min(max(1, round(seconds * _MICROSECONDS)), _LONGEST))

    def summary(self) -> dict[str, float]:
        """Milliseconds by percentile, the largest, and how many there were; without percentiles if none."""
        count = self._histogram.get_total_count()
        if not count:
            return {"count": 0}
        values = {
            f"p{percentile:g}": self._histogram.get_value_at_percentile(percentile) / 1_000
            for percentile in PERCENTILES
        }
        return {"count": count, **values, "max": self._histogram.get_max_value() / 1_000}
