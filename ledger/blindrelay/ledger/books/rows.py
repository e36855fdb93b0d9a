"""What goes into the books and comes out of them. Times are Unix seconds, amounts are units, unless said."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Final

MAX_AMOUNT: Final = 10**15
"""Units of one credit, limit or quota: sums of a thousand of them still fit into 63 bits."""
DEFAULT_MAX_UNITS: Final = 1_000_000
"""Units of one exchange: what every client allows (spec/protocol.md, section 6)."""
DEFAULT_CONCURRENT: Final = 100
"""Exchanges at once."""


class Period(Enum):
    """After what time a quota begins anew: at midnight UTC, months on their first day."""

    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True)
class Quota:
    """At most this much from one reset to the next; without a period, for ever."""

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
    """What is used of a quota: "units", "exchanges" or "bytes". resets_at is None if it never begins anew."""

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


@dataclass(frozen=True)
class Limit:
    """A limit that has been reached: an outer status's text, and when to try again (0 if nobody knows)."""

    status: str
    retry_after_seconds: int = 0


@dataclass(frozen=True)
class Allowance:
    """How many exchanges an account may start at one node, counted from line `sequence` on."""

    account: str
    sequence: int
    exchanges: int
    limit: Limit | None = None


@dataclass(frozen=True)
class Lease:
    """What a lease says. The service turns it into a token and signs it.

    Attributes:
        id: 12 random bytes in base64url ("jti").
        account: the pseudonym ("sub").
        concurrent: exchanges at once, at this node.
        rate: exchanges per second, at this node; None for no limit.
        units: the most `max_units` of one exchange.
        others: further nodes at which the account has allowances; refresh theirs.
    """

    id: str
    account: str
    node: bytes = field(repr=False)
    issued_at: int
    expires_at: int
    concurrent: int
    rate: float | None
    burst: int | None
    units: int
    scope: Scope
    allowance: Allowance
    others: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Start:
    """An exchange has started: a lease's id, exact Envelope bytes, and how long it may take."""

    lease: str
    envelope: bytes = field(repr=False)
    deadline_seconds: int


@dataclass(frozen=True)
class End:
    """An exchange has ended: an outer status, "ok" or "cancelled", and sealed bytes both ways."""

    exchange_id: bytes = field(repr=False)
    outcome: str
    request_bytes: int
    response_bytes: int


@dataclass(frozen=True)
class LinesTaken:
    """Every line up to `acknowledged` is in the books. `rejected` of these lines could not be used."""

    acknowledged: int
    allowances: tuple[Allowance, ...]
    rejected: int = 0


class State(IntEnum):
    """Where an exchange stands. The numbers are those of v1's LineState."""

    RESERVED = 1
    POSTED = 2
    VOIDED = 3
    LAPSED = 4


@dataclass(frozen=True)
class Receipt:
    """A verified receipt.

    Attributes:
        identity: the bridge, 32 bytes.
        envelope_hash: 32 bytes.
        started: False for NOT_STARTED: the provider was not asked.
        replica_id: 16 bytes.
        receipt: exact bytes.
        signature: 64 bytes.
        delegation, delegation_signature: what proves the signature.
    """

    identity: bytes = field(repr=False)
    envelope_hash: bytes = field(repr=False)
    units: int
    started: bool
    replica_id: bytes = field(repr=False)
    receipt: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    delegation: bytes = field(repr=False)
    delegation_signature: bytes = field(repr=False)


class Outcome(Enum):
    """What became of a receipt. All but WAITING are final, and all are in the books."""

    POSTED = "posted"
    VOIDED = "voided"
    """Nothing was started, and nothing is charged."""
    REPEATED = "repeated"
    """It was in the books before."""
    WAITING = "waiting"
    """It came after the exchange lapsed, and the account has no room for it yet. It is posted when it has."""
    ORPHAN = "orphan"
    """No relay has reported the exchange. It is settled if one does."""
    CONTRADICTION = "contradiction"
    """It contradicts another receipt or a watermark. It is kept and not charged."""
    EXCESS = "excess"
    """It is for more than the exchange's max_units, or another bridge's. It is kept and not charged."""
    LATE = "late"
    """It came more than 7 days after the exchange lapsed. It is kept and not charged."""


@dataclass(frozen=True)
class Posted:
    """What became of each receipt, in order, and the accounts (pseudonyms) whose allowances may have changed."""

    outcomes: tuple[Outcome, ...]
    accounts: frozenset[str]


@dataclass(frozen=True)
class Watermark:
    """A verified watermark (v1's Watermark, field by field)."""

    identity: bytes = field(repr=False)
    replica_id: bytes = field(repr=False)
    started_at: int
    closed_before: int
    key_ids: tuple[bytes, ...] = field(repr=False)
    open: tuple[bytes, ...] = field(repr=False)
    count: int
    units: int
    ended: bool


@dataclass(frozen=True)
class SignedTable:
    """A verified price table: exact bytes and what proves them (v1's SignedPriceTable)."""

    table: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    delegation: bytes = field(repr=False)
    delegation_signature: bytes = field(repr=False)


@dataclass(frozen=True)
class Line:
    """One exchange of a statement. `number` grows; pass the last one to read on.

    Attributes:
        at: when it started, a multiple of 60.
        token: the token's name.
        receipt: what the bridge signed, if it did; without this the other three are empty as well.
    """

    number: int
    account: str
    envelope_hash: bytes = field(repr=False)
    at: int
    state: State
    units: int
    token: str
    receipt: bytes = field(default=b"", repr=False)
    signature: bytes = field(default=b"", repr=False)
    delegation: bytes = field(default=b"", repr=False)
    delegation_signature: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Statement:
    """The sums of an account's month: `charged` and the lines are the month's, the rest is as of now."""

    balance: int
    overdraft_bound: int
    charged: int
    credits: tuple[Credit, ...]


@dataclass(frozen=True)
class Check:
    """Whether the books balance, and in `problems` what does not, a sentence each."""

    open: int
    orphans: int
    contradictions: int
    problems: tuple[str, ...]

    @property
    def balanced(self) -> bool:
        return not self.problems


@dataclass(frozen=True)
class Day:
    """What one day ("YYYY-MM-DD") brought: units charged, and exchanges whatever their state."""

    day: str
    units: int
    exchanges: int


@dataclass(frozen=True)
class Overview:
    """All accounts together."""

    accounts: int
    enabled: int
    balance: int
    open: int
    days: tuple[Day, ...]


@dataclass(frozen=True)
class Replica:
    """What a replica last said in a watermark, and what the books have of its process."""

    identity: bytes = field(repr=False)
    replica_id: bytes = field(repr=False)
    started_at: int
    closed_before: int
    ended: bool
    stated_count: int
    stated_units: int
    count: int
    units: int


@dataclass(frozen=True)
class Settlement:
    """How settlement stands. `lapsed` exchanges are still open to a receipt; `waiting` receipts have no room."""

    open: int
    oldest_open_at: int | None
    lapsed: int
    waiting: int
    orphans: int
    contradictions: int
    replicas: tuple[Replica, ...]


@dataclass(frozen=True)
class Evidence:
    """A receipt that was kept and not charged."""

    number: int
    kind: Outcome
    at: int
    receipt: Receipt


@dataclass(frozen=True)
class AuditEntry:
    """Who changed what. `before` and `after` are JSON objects, or empty."""

    number: int
    at: int
    actor: str
    action: str
    subject: str
    before: str
    after: str
