"""What settles an exchange: a receipt, a watermark, or time. The first receipt stands; only it can charge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from blindrelay.ledger.books import allowances
from blindrelay.ledger.books.exchange_rows import Outcome, Posted, Receipt, State, Watermark
from blindrelay.ledger.books.limits import use
from blindrelay.ledger.books.periods import DAY
from blindrelay.ledger.books.store import Statements, Value
from blindrelay.ledger.books.transfers import bridge, customer, transfer

LATE_SECONDS: Final = 7 * DAY
"""After an exchange has lapsed: for so long a receipt still charges it."""
_WAITING_AT_ONCE: Final = 1_000

# With IN (1, 4) in place of NOT IN (2, 3), a PostgreSQL without statistics reads all of exchange_closable.
_CLAIM = """
UPDATE exchange SET
    state = :state, units = :units, receipt = :receipt, signature = :signature, signer = :signer,
    replica_id = :replica_id
WHERE envelope_hash = :envelope_hash AND identity = :identity AND receipt IS NULL AND state NOT IN (2, 3)
    AND :units <= CASE WHEN :state = 2 THEN max_units ELSE 0 END
    AND (lapsed_at IS NULL OR lapsed_at + :late >= :now)
RETURNING number, account, CASE WHEN lapsed_at IS NULL THEN hold ELSE 0 END AS held
"""

_CHARGE = """
UPDATE account SET balance = balance - :units, held = held - :held
WHERE id = :account AND balance - :units + bound >= held - :held
RETURNING id
"""

_WAIT = "UPDATE exchange SET state = 4, lapsed_at = COALESCE(lapsed_at, :now) WHERE number = :number"

_EXCHANGE = "SELECT identity, max_units, state, receipt FROM exchange WHERE envelope_hash = :envelope_hash"

_KEEP = """
INSERT INTO evidence (
    kind, at, identity, envelope_hash, units, started, replica_id, receipt, signature, signer
)
VALUES (
    :kind, :now, :identity, :envelope_hash, :units, :started, :replica_id, :receipt, :signature, :signer
)
ON CONFLICT (envelope_hash, receipt) DO NOTHING
RETURNING number
"""

_ADD_SIGNER = """
INSERT INTO signer (delegation, delegation_signature) VALUES (:delegation, :delegation_signature)
ON CONFLICT (delegation, delegation_signature) DO NOTHING
"""

_SIGNER = """
SELECT id FROM signer WHERE delegation = :delegation AND delegation_signature = :delegation_signature
"""

_COUNT = """
INSERT INTO replica (
    identity, replica_id, started_at, closed_before, ended, stated_receipts, stated_units, receipts, units
)
VALUES (:identity, :replica_id, 0, 0, 0, 0, 0, :receipts, :units)
ON CONFLICT (identity, replica_id) DO UPDATE SET
    receipts = replica.receipts + excluded.receipts, units = replica.units + excluded.units
"""

_STATE = """
INSERT INTO replica (
    identity, replica_id, started_at, closed_before, ended, stated_receipts, stated_units, receipts, units
)
VALUES (:identity, :replica_id, :started_at, :closed_before, :ended, :receipts, :units, 0, 0)
ON CONFLICT (identity, replica_id) DO UPDATE SET
    started_at = excluded.started_at, closed_before = excluded.closed_before, ended = excluded.ended,
    stated_receipts = excluded.stated_receipts, stated_units = excluded.stated_units
"""

_CLOSABLE = """
SELECT number, envelope_hash FROM exchange
WHERE key_id = :key_id AND identity = :identity AND (:ended = 1 OR issued_at < :closed_before)
    AND state IN (1, 4) AND receipt IS NULL
"""

_VOID = """
UPDATE exchange SET state = 3 WHERE number = :number AND state IN (1, 4) AND receipt IS NULL
RETURNING account, CASE WHEN lapsed_at IS NULL THEN hold ELSE 0 END AS held
"""

_LAPSE = """
UPDATE exchange SET state = 4, lapsed_at = :now WHERE state = 1 AND expires_at <= :now
RETURNING account, hold AS held
"""

# Those that could be charged now: an account that never has room must not stand before the others.
_WAITING = """
SELECT exchange.number, account, identity, exchange.units FROM exchange
JOIN account ON account.id = exchange.account
WHERE state = 4 AND receipt IS NOT NULL AND exchange.units <= balance + bound - held + (
    SELECT CAST(COALESCE(SUM(units), 0) AS BIGINT) FROM allowance WHERE account = exchange.account
) ORDER BY exchange.number LIMIT :limit
"""

_POST = "UPDATE exchange SET state = 2 WHERE number = :number"


class Settling:
    """Settles exchanges, and enters their sums when it is finished."""

    def __init__(self, sql: Statements, now: int) -> None:
        self._sql = sql
        self._now = now
        self._signers: dict[tuple[bytes, bytes], int] = {}
        self._charges: Counter[tuple[int, bytes]] = Counter()
        self._charged: Counter[tuple[int, bytes]] = Counter()
        self._receipts: Counter[tuple[bytes, bytes]] = Counter()
        self._units: Counter[tuple[bytes, bytes]] = Counter()
        self.accounts: set[int] = set()
        """Whose allowances may have changed."""

    def settle(self, receipts: Sequence[Receipt]) -> tuple[Outcome, ...]:
        """Settles by each receipt, or keeps it."""
        outcomes = self._settle(receipts)
        for receipt, outcome in zip(receipts, outcomes, strict=True):
            if outcome is not Outcome.REPEATED:
                self._receipts[receipt.identity, receipt.replica_id] += 1
                self._units[receipt.identity, receipt.replica_id] += receipt.units
        return outcomes

    def settle_orphan(self, receipt: Receipt) -> None:
        """Settles a receipt that was kept as an orphan, and counted then."""
        self._settle([receipt])

    def charge(self, account: int, identity: bytes, units: int, held: int) -> bool:
        """Takes units from the balance, with room from allowances, unless that breaks the bound."""
        values = {"account": account, "units": units, "held": held}
        charged = self._sql.one(_CHARGE, **values) is not None or (
            allowances.make_room(self._sql, account, units - held)
            and self._sql.one(_CHARGE, **values) is not None
        )
        if charged:
            self._note_charge(account, identity, units)
        return charged

    def finish(self) -> None:
        """Enters the sums: one transfer for each account and bridge, quotas, and counts of replicas."""
        for (account, identity), units in sorted(self._charges.items()):
            if units:
                count = self._charged[account, identity]
                transfer(self._sql, customer(account), bridge(identity), units, self._now, count)
                use(self._sql, account, "units", units)
        for key, receipts in sorted(self._receipts.items()):
            units = self._units[key]
            self._sql.run(_COUNT, identity=key[0], replica_id=key[1], receipts=receipts, units=units)

    def _settle(self, receipts: Sequence[Receipt]) -> tuple[Outcome, ...]:
        """Claims all exchanges, then charges for all, then sees to the rest one by one."""
        claims = [
            rows[0] if rows else None
            for rows in self._sql.each(_CLAIM, [self._claim(each) for each in receipts])
        ]
        charged = iter(
            self._sql.each(
                _CHARGE,
                [
                    {"account": claim["account"], "units": receipt.units, "held": claim["held"]}
                    for receipt, claim in zip(receipts, claims, strict=True)
                    if claim is not None
                ],
            )
        )
        return tuple(
            self._keep(receipt) if claim is None else self._outcome(receipt, claim, bool(next(charged)))
            for receipt, claim in zip(receipts, claims, strict=True)
        )

    def _outcome(self, receipt: Receipt, claim: Any, charged: bool) -> Outcome:
        if charged:
            self._note_charge(claim["account"], receipt.identity, receipt.units)
        elif not self.charge(claim["account"], receipt.identity, receipt.units, claim["held"]):
            self._sql.run(_WAIT, number=claim["number"], now=self._now)
            return Outcome.WAITING
        return Outcome.POSTED if receipt.started else Outcome.VOIDED

    def _note_charge(self, account: int, identity: bytes, units: int) -> None:
        self._charges[account, identity] += units
        self._charged[account, identity] += 1
        self.accounts.add(account)

    def _claim(self, receipt: Receipt) -> dict[str, Value]:
        return {
            "envelope_hash": receipt.envelope_hash,
            "identity": receipt.identity,
            "state": int(State.POSTED if receipt.started else State.VOIDED),
            "units": receipt.units,
            "receipt": receipt.receipt,
            "signature": receipt.signature,
            "signer": self._signer(receipt),
            "replica_id": receipt.replica_id,
            "late": LATE_SECONDS,
            "now": self._now,
        }

    def _keep(self, receipt: Receipt) -> Outcome:
        kind = self._fault(receipt)
        if kind is Outcome.REPEATED:
            return kind
        kept = self._sql.one(
            _KEEP,
            kind=kind.value,
            now=self._now,
            identity=receipt.identity,
            envelope_hash=receipt.envelope_hash,
            units=receipt.units,
            started=int(receipt.started),
            replica_id=receipt.replica_id,
            receipt=receipt.receipt,
            signature=receipt.signature,
            signer=self._signer(receipt),
        )
        return Outcome.REPEATED if kept is None else kind

    def _fault(self, receipt: Receipt) -> Outcome:
        """Why a receipt settled nothing."""
        exchange = self._sql.one(_EXCHANGE, envelope_hash=receipt.envelope_hash)
        if exchange is None:
            return Outcome.ORPHAN
        if exchange["receipt"] == receipt.receipt:
            return Outcome.REPEATED
        allowed = exchange["max_units"] if receipt.started else 0
        if exchange["identity"] != receipt.identity or receipt.units > allowed:
            return Outcome.EXCESS
        if exchange["receipt"] is None and exchange["state"] == State.LAPSED:
            return Outcome.LATE
        return Outcome.CONTRADICTION

    def _signer(self, receipt: Receipt) -> int:
        key = (receipt.delegation, receipt.delegation_signature)
        if key not in self._signers:
            values = {"delegation": key[0], "delegation_signature": key[1]}
            self._sql.run(_ADD_SIGNER, **values)
            row: Any = self._sql.one(_SIGNER, **values)
            self._signers[key] = row["id"]
        return self._signers[key]


def post(sql: Statements, receipts: Sequence[Receipt], now: int) -> Posted:
    """Settles exchanges by their receipts."""
    settling = Settling(sql, now)
    outcomes = settling.settle(receipts)
    settling.finish()
    return Posted(outcomes, allowances.pseudonyms(sql, settling.accounts))


def close_exchanges(sql: Statements, watermark: Watermark) -> frozenset[str]:
    """Voids what the watermark closes. Returns the accounts whose allowances may have changed."""
    still_open = set(watermark.open)
    voided = (
        sql.one(_VOID, number=row["number"])
        for key_id in watermark.key_ids
        for row in sql.all(
            _CLOSABLE,
            key_id=key_id,
            identity=watermark.identity,
            closed_before=watermark.closed_before,
            ended=int(watermark.ended),
        )
        if row["envelope_hash"] not in still_open
    )
    freed = allowances.give_back(sql, [(row["account"], row["held"]) for row in voided if row is not None])
    sql.run(
        _STATE,
        identity=watermark.identity,
        replica_id=watermark.replica_id,
        started_at=watermark.started_at,
        closed_before=watermark.closed_before,
        ended=int(watermark.ended),
        receipts=watermark.count,
        units=watermark.units,
    )
    return allowances.pseudonyms(sql, freed)


def lapse(sql: Statements, now: int) -> set[int]:
    """Releases what is held for exchanges whose time is over. Returns their accounts."""
    rows = sql.all(_LAPSE, now=now)
    return allowances.give_back(sql, ((row["account"], row["held"]) for row in rows))


def post_waiting(sql: Statements, now: int) -> set[int]:
    """Charges receipts that came late, now that there is room for them. Returns the accounts charged."""
    settling = Settling(sql, now)
    for row in sql.all(_WAITING, limit=_WAITING_AT_ONCE):
        if settling.charge(row["account"], bytes(row["identity"]), row["units"], held=0):
            sql.run(_POST, number=row["number"])
    settling.finish()
    return settling.accounts
