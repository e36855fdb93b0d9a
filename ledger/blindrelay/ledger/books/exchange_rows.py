"""Leases, lines, receipts and watermarks as rows. Times are Unix seconds, amounts are units."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum

from blindrelay.ledger.books.account_rows import Scope


@dataclass(frozen=True)
class Limit:
    """A limit that has been reached: an outer status's text, and when to try again (0 if unknown)."""

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
    """An exchange has ended: an outer status, "ok" or "cancelled", and sealed bytes both ways.

    Attributes:
        start_sequence: the number of its start line, of the same node.
    """

    start_sequence: int
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
    """How a receipt ended. All but WAITING are final, and all are in the books."""

    POSTED = "posted"
    VOIDED = "voided"
    """Nothing was started, and nothing is charged."""
    REPEATED = "repeated"
    """It was in the books before."""
    WAITING = "waiting"
    """It came late and would break the bound now. It is posted when it no longer does."""
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
    """The outcome of each receipt, in order, and the accounts (pseudonyms) whose allowances may change."""

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
