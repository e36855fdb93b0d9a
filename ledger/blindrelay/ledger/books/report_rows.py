"""Statements, checks and sums as rows. Times are Unix seconds, amounts are units."""

from __future__ import annotations

from dataclasses import dataclass, field

from blindrelay.ledger.books.account_rows import Credit
from blindrelay.ledger.books.exchange_rows import Outcome, Receipt, State


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
    exchange_id: bytes = field(repr=False)
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
    """One day ("YYYY-MM-DD"): units charged, and exchanges in any state."""

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
    """How settlement stands.

    Attributes:
        lapsed: exchanges that a receipt can still charge.
        waiting: receipts that came late and have no room yet.
    """

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
