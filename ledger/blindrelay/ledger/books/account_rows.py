"""Accounts, limits, tokens, credits and vouchers as rows. Times are Unix seconds, amounts are units."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

MAX_AMOUNT: Final = 10**15
"""Units of one credit, limit or quota: sums of a thousand of them still fit into 63 bits."""
DEFAULT_MAX_UNITS: Final = 1_000_000
"""Units of one exchange: what every client allows (spec/protocol.md, section 6)."""
DEFAULT_CONCURRENT: Final = 100
"""Exchanges at once."""


class Period(Enum):
    """How often a quota is reset: at midnight UTC, for months on their first day."""

    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True)
class Quota:
    """The most from one reset to the next; without a period it is never reset."""

    amount: int
    per: Period | None = None


@dataclass(frozen=True)
class Scope:
    """What a token may be used for. An empty tuple allows everything.

    Attributes:
        bridges: identities as "br1…".
        classes: service classes.
        addresses: networks of clients, "192.0.2.0/24".
    """

    bridges: tuple[str, ...] = ()
    classes: tuple[int, ...] = ()
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """An account's limits. None means no limit, except as said.

    Attributes:
        max_units: of one exchange.
        concurrent: exchanges at once.
        overdraft: how far the balance may fall below 0; None for concurrent times max_units.
        rate: exchanges per second.
        burst: how many may come at once; None for one second's, and at least 1.
        bytes: sealed, both ways, counted when an exchange has ended.
    """

    max_units: int = DEFAULT_MAX_UNITS
    concurrent: int = DEFAULT_CONCURRENT
    overdraft: int | None = None
    rate: float | None = None
    burst: int | None = None
    units: Quota | None = None
    exchanges: Quota | None = None
    bytes: Quota | None = None


@dataclass(frozen=True)
class QuotaUse:
    """What is used of a quota: "units", "exchanges" or "bytes". resets_at is None if it is never reset."""

    quota: str
    used: int
    resets_at: int | None


@dataclass(frozen=True)
class Account:
    """An account as it stands.

    Attributes:
        pseudonym: 12 random bytes in base64url, as leases name the account.
        balance: credits without what was charged.
        charged: of all time.
        outstanding: exchanges that have started and are neither settled nor released.
        overdraft_bound: the balance is never below minus this.
    """

    name: str
    pseudonym: str
    enabled: bool
    created_at: int
    expires_at: int | None
    balance: int
    charged: int
    outstanding: int
    overdraft_bound: int
    limits: Limits
    uses: tuple[QuotaUse, ...] = ()


@dataclass(frozen=True)
class Token:
    """An account's access token, without the token. `last_used` is a day's beginning."""

    id: str
    account: str
    name: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    last_used: int | None
    scope: Scope


@dataclass(frozen=True)
class Credit:
    """Units that were added to an account, or taken back (below 0)."""

    at: int
    account: str
    units: int
    reference: str
    repeated: bool = False
    """Whether the reference was in the books before, so that nothing was added."""


@dataclass(frozen=True)
class Voucher:
    """Units for the account that redeems them first."""

    id: str
    units: int
    reference: str
    created_at: int
    expires_at: int | None
    redeemed_at: int | None
    revoked_at: int | None
    account: str | None
