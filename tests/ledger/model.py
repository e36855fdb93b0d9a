"""What the books should say, in plain Python: no database, no batches, no indexes."""

from __future__ import annotations

from dataclasses import dataclass, field

from blindrelay.ledger.books import End, Limits, Outcome, Receipt, State, Watermark

from .trading import Exchange

DAY = 86_400


@dataclass
class Part:
    """An allowance: exchanges, units, and when its lease ends."""

    exchanges: int = 0
    units: int = 0
    expires_at: int = 0


@dataclass
class Entry:
    """An exchange in the books."""

    exchange: Exchange
    account: Purse
    node: bytes
    sequence: int
    expires_at: int
    state: State = State.RESERVED
    hold: int = 0
    lapsed_at: int | None = None
    ended: bool = False
    repeated: bool = False
    receipt: Receipt | None = None

    @property
    def waiting(self) -> bool:
        return self.state is State.LAPSED and self.receipt is not None

    @property
    def charged(self) -> int:
        return self.receipt.units if self.state is State.POSTED and self.receipt else 0

    def settle(self, state: State) -> int:
        """Returns what was held."""
        held, self.hold, self.state = self.hold, 0, state
        return held


@dataclass(eq=False)
class Purse:
    """An account."""

    limits: Limits
    balance: int = 0
    bound: int = 0
    held: int = 0
    parts: dict[bytes, Part] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("units", "exchanges", "bytes"), 0))
    day: int = 0

    @property
    def overdraft(self) -> int:
        own = self.limits.overdraft
        return self.limits.concurrent * self.limits.max_units if own is None else own

    def limit(self, limits: Limits) -> None:
        self.limits = limits
        self.lower_bound()

    def lower_bound(self) -> None:
        self.bound = max(self.overdraft, self.held - self.balance)

    def left(self, kind: str) -> int | None:
        quota = getattr(self.limits, kind)
        return None if quota is None else quota.amount - self.used[kind]

    def refused(self) -> bool:
        spent = (left is not None and left <= 0 for left in map(self.left, ("units", "exchanges", "bytes")))
        return self.balance <= 0 or any(spent)

    def refresh(self, node: bytes, now: int) -> int:
        """What may start at the node."""
        own = self.parts[node]
        others = [part for name, part in self.parts.items() if name != node and part.expires_at > now]
        units = self.left("units")
        spendable = self.balance if units is None else min(self.balance, units)
        number = max(0, spendable + self.overdraft - self.held + own.units) // self.limits.max_units
        if others and number > 1:
            number //= 2
        exchanges = self.left("exchanges")
        if exchanges is not None:
            number = min(number, exchanges - sum(part.exchanges for part in others))
        number = 0 if self.refused() else max(0, number)
        self.held += number * self.limits.max_units - own.units
        own.exchanges, own.units = number, number * self.limits.max_units
        return number

    def missing(self, units: int, held: int) -> int:
        return units - self.balance - self.bound + self.held - held

    def pay(self, units: int, held: int, *, room: bool = True) -> bool:
        """With room, takes what is missing from allowances."""
        missing = self.missing(units, held)
        if missing > (sum(part.units for part in self.parts.values()) if room else 0):
            return False
        for name in sorted(self.parts):
            taken = max(0, min(missing, self.parts[name].units))
            self.parts[name].units -= taken
            self.held -= taken
            missing -= taken
        self.balance -= units
        self.held -= held
        self.used["units"] += units
        return True


@dataclass
class Model:
    """All accounts and exchanges."""

    purses: dict[str, Purse] = field(default_factory=dict)
    entries: dict[bytes, Entry] = field(default_factory=dict)
    kept: dict[tuple[bytes, bytes], Outcome] = field(default_factory=dict)
    keepsakes: list[Receipt] = field(default_factory=list)

    def reset(self, now: int) -> None:
        """Quotas of exchanges are by day, the others for ever."""
        for purse in self.purses.values():
            if purse.day < now // DAY:
                purse.day, purse.used["exchanges"] = now // DAY, 0

    def start(self, purse: Purse, started: list[Exchange], node: bytes, first: int, now: int) -> None:
        new = [
            exchange
            for sequence, exchange in enumerate(started, first)
            if self._reserve(purse, exchange, node, sequence, now)
        ]
        for exchange in new:
            for receipt in [each for each in self.keepsakes if each.envelope_hash == exchange.hash]:
                if self.kept.get((receipt.envelope_hash, receipt.receipt)) is Outcome.ORPHAN:
                    del self.kept[receipt.envelope_hash, receipt.receipt]
                    self.post([receipt], now)

    def _reserve(self, purse: Purse, exchange: Exchange, node: bytes, sequence: int, now: int) -> bool:
        expires_at = now + exchange.deadline + 120
        entry = self.entries.get(exchange.hash)
        repeated = entry is not None and entry.state is State.RESERVED
        if entry is not None and repeated and entry.hold:
            entry.node, entry.sequence, entry.ended, entry.repeated = node, sequence, False, True
            entry.expires_at = max(entry.expires_at, expires_at)
            return False
        if entry is not None and (entry.receipt or entry.state not in (State.RESERVED, State.LAPSED)):
            return False
        entry = Entry(exchange, purse, node, sequence, expires_at, repeated=repeated)
        self.entries[exchange.hash] = entry
        purse.used["exchanges"] += 1
        part = purse.parts.get(node)
        if part is not None and part.exchanges >= 1 and part.units >= exchange.max_units:
            part.exchanges -= 1
            part.units -= exchange.max_units
            entry.hold = exchange.max_units
        return True

    def end(self, line: End, node: bytes, now: int) -> Entry | None:
        """The exchange that the line ends."""
        for entry in self.entries.values():
            if (entry.node, entry.sequence) == (node, line.start_sequence) and not entry.ended:
                entry.ended = True
                entry.account.used["bytes"] += line.request_bytes + line.response_bytes
                released = line.outcome == "refused" and not line.response_bytes and not entry.repeated
                if released and entry.state is State.RESERVED:
                    self._lapse(entry, now)
                return entry
        return None

    def post(self, receipts: list[Receipt], now: int) -> tuple[Outcome, ...]:
        """All exchanges are claimed first, and allowances give room last."""
        claims = [self._claim(receipt, now) for receipt in receipts]
        paid = [
            claim and claim.account.pay(receipt.units, claim.hold, room=False)
            for receipt, claim in zip(receipts, claims, strict=True)
        ]
        return tuple(
            self._settle(claim, receipt, bool(done), now) if claim else self._keep(receipt)
            for receipt, claim, done in zip(receipts, claims, paid, strict=True)
        )

    def _claim(self, receipt: Receipt, now: int) -> Entry | None:
        entry = self.entries.get(receipt.envelope_hash)
        if entry is None or entry.receipt is not None or entry.state not in (State.RESERVED, State.LAPSED):
            return None
        if receipt.units > (entry.exchange.max_units if receipt.started else 0):
            return None
        if entry.lapsed_at is not None and now > entry.lapsed_at + 7 * DAY:
            return None
        entry.receipt = receipt
        return entry

    def _settle(self, entry: Entry, receipt: Receipt, paid: bool, now: int) -> Outcome:
        if not paid and not entry.account.pay(receipt.units, entry.hold):
            entry.state, entry.lapsed_at = State.LAPSED, entry.lapsed_at or now
            return Outcome.WAITING
        entry.settle(State.POSTED if receipt.started else State.VOIDED)
        return Outcome.POSTED if receipt.started else Outcome.VOIDED

    def close(self, watermark: Watermark) -> None:
        for entry in self.entries.values():
            closed = watermark.ended or entry.exchange.issued_at < watermark.closed_before
            unsettled = entry.state in (State.RESERVED, State.LAPSED) and entry.receipt is None
            if closed and unsettled and entry.exchange.hash not in watermark.open:
                entry.account.held -= entry.settle(State.VOIDED)

    def tidy(self, now: int) -> None:
        for entry in self.entries.values():
            if entry.state is State.RESERVED and entry.expires_at <= now:
                self._lapse(entry, now)
        for purse in self.purses.values():
            for name in [name for name, part in purse.parts.items() if part.expires_at <= now - 30]:
                purse.held -= purse.parts.pop(name).units
        for entry in self.entries.values():
            if entry.waiting and entry.receipt and entry.account.pay(entry.receipt.units, 0):
                entry.state = State.POSTED
        for purse in self.purses.values():
            purse.lower_bound()

    def _lapse(self, entry: Entry, now: int) -> None:
        entry.account.held -= entry.settle(State.LAPSED)
        entry.lapsed_at = now

    def _keep(self, receipt: Receipt) -> Outcome:
        kind = self._fault(receipt)
        key = (receipt.envelope_hash, receipt.receipt)
        if kind is Outcome.REPEATED or key in self.kept:
            return Outcome.REPEATED
        self.kept[key] = kind
        self.keepsakes.append(receipt)
        return kind

    def _fault(self, receipt: Receipt) -> Outcome:
        entry = self.entries.get(receipt.envelope_hash)
        if entry is None:
            return Outcome.ORPHAN
        if entry.receipt is not None and entry.receipt.receipt == receipt.receipt:
            return Outcome.REPEATED
        if receipt.units > (entry.exchange.max_units if receipt.started else 0):
            return Outcome.EXCESS
        late = entry.receipt is None and entry.state is State.LAPSED
        return Outcome.LATE if late else Outcome.CONTRADICTION
