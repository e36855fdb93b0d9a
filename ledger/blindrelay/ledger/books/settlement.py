"""Receipts settle exchanges. The first one for an exchange stands, and only it can charge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from blindrelay.ledger.books import allowances
from blindrelay.ledger.books.exchange_rows import Outcome, Posted, Receipt, State
from blindrelay.ledger.books.limits import use
from blindrelay.ledger.books.periods import DAY
from blindrelay.ledger.books.set_statement import SetStatement
from blindrelay.ledger.books.store import Statements, Value
from blindrelay.ledger.books.transfers import bridge, customer, transfer_each

LATE_SECONDS: Final = 7 * DAY
"""Seconds after an exchange has lapsed in which a receipt still charges it."""
_WAITING_AT_ONCE: Final = 1_000

_SIGNER = """(
    SELECT id FROM signer WHERE delegation = :delegation AND delegation_signature = :delegation_signature
)"""

_ADD_SIGNER = f"""
INSERT INTO signer (delegation, delegation_signature)
SELECT :delegation, :delegation_signature WHERE {_SIGNER} IS NULL
"""

# With IN (1, 4) in place of NOT IN (2, 3), a PostgreSQL without statistics reads all of exchange_running.
_CLAIM = SetStatement(
    "envelope_hash BLOB, identity BLOB, state INTEGER, units INTEGER, receipt BLOB, signature BLOB,"
    "replica_id BLOB",
    f"""
    UPDATE exchange SET
        state = given.state, units = given.units, receipt = given.receipt, signature = given.signature,
        signer = {_SIGNER}, replica_id = given.replica_id
    FROM given
    WHERE exchange.envelope_hash = given.envelope_hash AND exchange.identity = given.identity
        AND exchange.receipt IS NULL AND exchange.state NOT IN (2, 3)
        AND given.units <= CASE WHEN given.state = 2 THEN max_units ELSE 0 END
        AND (lapsed_at IS NULL OR lapsed_at + :late >= :now)
    RETURNING exchange.envelope_hash, number, account,
        CASE WHEN lapsed_at IS NULL THEN hold ELSE 0 END AS held
    """,  # noqa: S608
)

_CHARGE = SetStatement(
    "account INTEGER, units INTEGER, held INTEGER",
    """
    UPDATE account SET balance = balance - given.units, held = account.held - given.held FROM given
    WHERE id = given.account AND balance - given.units + bound >= account.held - given.held
    RETURNING id, pseudonym
    """,
)

_WAIT = "UPDATE exchange SET state = 4, lapsed_at = COALESCE(lapsed_at, :now) WHERE number = :number"

_EXCHANGE = "SELECT identity, max_units, state, receipt FROM exchange WHERE envelope_hash = :envelope_hash"

_KEEP = f"""
INSERT INTO evidence (
    kind, at, identity, envelope_hash, units, started, replica_id, receipt, signature, signer
)
VALUES (
    :kind, :now, :identity, :envelope_hash, :units, :started, :replica_id, :receipt, :signature, {_SIGNER}
)
ON CONFLICT (envelope_hash, receipt) DO NOTHING
RETURNING number
"""  # noqa: S608

_COUNT = """
INSERT INTO replica (
    identity, replica_id, started_at, closed_before, ended, stated_receipts, stated_units, receipts, units
)
VALUES (:identity, :replica_id, 0, 0, 0, 0, 0, :receipts, :units)
ON CONFLICT (identity, replica_id) DO UPDATE SET
    receipts = replica.receipts + excluded.receipts, units = replica.units + excluded.units
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
        self._signers: set[tuple[bytes, bytes]] = set()
        self._charges: Counter[tuple[int, bytes]] = Counter()
        self._charged: Counter[tuple[int, bytes]] = Counter()
        self._receipts: Counter[tuple[bytes, bytes]] = Counter()
        self._units: Counter[tuple[bytes, bytes]] = Counter()
        self.accounts: dict[int, str] = {}
        """Whose allowances may have changed: numbers, and pseudonyms."""

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
        part = [(account, units, held)]
        charged = self._sql.for_all(_CHARGE, part)
        if not charged and allowances.make_room(self._sql, account, units - held):
            charged = self._sql.for_all(_CHARGE, part)
        self._note_charged(charged)
        if charged:
            self._note_charge(account, identity, units)
        return bool(charged)

    def finish(self) -> None:
        """Enters the sums: one transfer for each account and bridge, quotas, and counts of replicas."""
        charges = [(key, units) for key, units in sorted(self._charges.items()) if units]
        transfers = [
            (customer(account), bridge(identity), units, self._charged[account, identity])
            for (account, identity), units in charges
        ]
        transfer_each(self._sql, transfers, self._now)
        used: Counter[tuple[int, str]] = Counter()
        for (account, _), units in charges:
            used[account, "units"] += units
        use(self._sql, used)
        for key, receipts in sorted(self._receipts.items()):
            units = self._units[key]
            self._sql.run(_COUNT, identity=key[0], replica_id=key[1], receipts=receipts, units=units)

    def _settle(self, receipts: Sequence[Receipt]) -> tuple[Outcome, ...]:
        """Claims all exchanges, then charges for all, then sees to the rest one by one."""
        claims = self._claim(receipts)
        charged = self._charge(receipts, claims)
        return tuple(
            self._keep(receipt) if claim is None else self._outcome(receipt, claim, charged)
            for receipt, claim in zip(receipts, claims, strict=True)
        )

    def _claim(self, receipts: Sequence[Receipt]) -> list[Any]:
        """The exchange that each receipt settles, or None; of several for one, the first that can."""
        claims: list[Any] = [None] * len(receipts)
        waiting = list(enumerate(receipts))
        while waiting:
            first_of_each = {receipt.envelope_hash: place for place, receipt in reversed(waiting)}
            for row in self._claim_each([receipts[place] for place in first_of_each.values()]):
                claims[first_of_each[bytes(row["envelope_hash"])]] = row
            tried = set(first_of_each.values())
            waiting = [(place, receipt) for place, receipt in waiting if place not in tried]
        return claims

    def _claim_each(self, receipts: Sequence[Receipt]) -> Iterator[Any]:
        """The exchanges that receipts settle, which are all for different ones."""
        of_signer: dict[tuple[bytes, bytes], list[Receipt]] = {}
        for receipt in receipts:
            of_signer.setdefault((receipt.delegation, receipt.delegation_signature), []).append(receipt)
        for group in of_signer.values():
            rows = [_row(receipt) for receipt in group]
            signer = self._signer(group[0])
            yield from self._sql.for_all(_CLAIM, rows, late=LATE_SECONDS, now=self._now, **signer)

    def _charge(self, receipts: Sequence[Receipt], claims: Sequence[Any]) -> set[int]:
        """Charges each account for all its receipts, if there is room for all. Returns those accounts."""
        units: Counter[int] = Counter()
        held: Counter[int] = Counter()
        for receipt, claim in zip(receipts, claims, strict=True):
            if claim is not None:
                units[claim["account"]] += receipt.units
                held[claim["account"]] += claim["held"]
        parts = [(account, units[account], held[account]) for account in units]
        charged = self._sql.for_all(_CHARGE, parts)
        self._note_charged(charged)
        return {row["id"] for row in charged}

    def _outcome(self, receipt: Receipt, claim: Any, charged: set[int]) -> Outcome:
        if claim["account"] in charged:
            self._note_charge(claim["account"], receipt.identity, receipt.units)
        elif not self.charge(claim["account"], receipt.identity, receipt.units, claim["held"]):
            self._sql.run(_WAIT, number=claim["number"], now=self._now)
            return Outcome.WAITING
        return Outcome.POSTED if receipt.started else Outcome.VOIDED

    def _note_charge(self, account: int, identity: bytes, units: int) -> None:
        self._charges[account, identity] += units
        self._charged[account, identity] += 1

    def _note_charged(self, accounts: Sequence[Any]) -> None:
        self.accounts.update((row["id"], row["pseudonym"]) for row in accounts)

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
            **self._signer(receipt),
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

    def _signer(self, receipt: Receipt) -> dict[str, Value]:
        """As statements find it."""
        key = (receipt.delegation, receipt.delegation_signature)
        values: dict[str, Value] = {"delegation": key[0], "delegation_signature": key[1]}
        if key not in self._signers:
            self._sql.run(_ADD_SIGNER, **values)
            self._signers.add(key)
        return values


def _row(receipt: Receipt) -> tuple[int | bytes, ...]:
    """As _CLAIM has it."""
    state = State.POSTED if receipt.started else State.VOIDED
    return (
        *(receipt.envelope_hash, receipt.identity, int(state), receipt.units),
        *(receipt.receipt, receipt.signature, receipt.replica_id),
    )


def post(sql: Statements, receipts: Sequence[Receipt], now: int) -> Posted:
    """Settles exchanges by their receipts."""
    settling = Settling(sql, now)
    outcomes = settling.settle(receipts)
    settling.finish()
    return Posted(outcomes, frozenset(settling.accounts.values()))


def post_waiting(sql: Statements, now: int) -> set[int]:
    """Charges receipts that came late, now that there is room for them. Returns the accounts charged."""
    settling = Settling(sql, now)
    for row in sql.all(_WAITING, limit=_WAITING_AT_ONCE):
        if settling.charge(row["account"], bytes(row["identity"]), row["units"], held=0):
            sql.run(_POST, number=row["number"])
    settling.finish()
    return set(settling.accounts)
