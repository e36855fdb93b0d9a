"""What is used of an account's quotas, for the pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from blindrelay.admin.v1.admin_pb2 import Account, Period

_PERIODS: Final = {Period.PERIOD_DAY: "day", Period.PERIOD_MONTH: "month"}


@dataclass(frozen=True)
class Quota:
    """One quota of an account in its present period.

    Attributes:
        name: "units", "exchanges" or "bytes".
        amount: of a whole period.
        used: in this period.
        period: "day" or "month"; empty for a quota that is never reset.
        resets_at: Unix seconds; 0 if never.
    """

    name: str
    amount: int
    used: int
    period: str
    resets_at: int


def quotas(account: Account) -> list[Quota]:
    """The account's quotas, in the order of the books."""
    return [
        Quota(
            use.quota,
            (limit := getattr(account.limits, use.quota)).amount,
            use.used,
            _PERIODS.get(limit.per, ""),
            use.resets_at,
        )
        for use in account.uses
        if use.quota in ("units", "exchanges", "bytes")
    ]
