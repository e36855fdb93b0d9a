"""The books against a model: whatever operators, relays, bridges and clocks do, in whatever order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from blindrelay.ledger.books import (
    Books,
    End,
    InvalidError,
    Lease,
    Limits,
    Outcome,
    Receipt,
    Start,
    State,
    UnknownError,
)

from .model import DAY, Entry, Model, Part, Purse
from .postgres_server import Server
from .strategies import AMOUNTS, INDEX, LIMITS, STEPS
from .trading import BY, NOW, Exchange, customer, unique, watermark

NODES = (b"1" * 16, b"2" * 16)
T = TypeVar("T")


def pick(things: Sequence[T], index: int) -> T:
    return things[index % len(things)]


class Trade(RuleBasedStateMachine):
    """Two nodes, one bridge, two accounts."""

    def new_place(self) -> Path | str:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.place = self.new_place()
        self.books = Books(self.place)
        self.now = NOW
        self.model = Model()
        self.digests: dict[str, bytes] = {}
        self.vouchers: dict[bytes, int] = {}
        self.redeemed: list[bytes] = []
        self.leases: list[tuple[Lease, str]] = []
        self.exchanges: list[Exchange] = []
        self.sequences = dict.fromkeys(NODES, 0)
        self.last: dict[bytes, tuple[int, list[Start | End]]] = {}
        self.taken: list[int] = []
        """The allowances after the newest lines."""

    def teardown(self) -> None:
        self.books.close()

    @initialize(limits=st.tuples(LIMITS, LIMITS), units=st.tuples(*[st.integers(1, 200)] * 2))
    def open_accounts(self, limits: tuple[Limits, Limits], units: tuple[int, int]) -> None:
        for name, allowed, amount in zip(("ann", "bob"), limits, units, strict=True):
            self.digests[name] = customer(self.books, name, amount, allowed, self.now)
            self.model.purses[name] = Purse(allowed, amount, day=self.now // DAY)
            self.model.purses[name].lower_bound()
            self.lease(name, NODES[0])

    @rule(name=st.sampled_from(("ann", "bob")), units=st.integers(-60, 200).filter(bool))
    def credit(self, name: str, units: int) -> None:
        purse, reference = self.model.purses[name], unique(8).hex()
        fits = purse.balance + units + purse.bound >= purse.held
        try:
            self.books.credit(name, units, reference, by=BY, now=self.now)
            assert self.books.credit(name, units, reference, by=BY, now=self.now).repeated
        except InvalidError:
            assert not fits
        else:
            assert fits
            purse.balance += units

    @rule(units=st.integers(1, 50))
    def add_voucher(self, units: int) -> None:
        code = unique(32)
        self.books.add_vouchers([code], units, by=BY, now=self.now)
        self.vouchers[code] = units

    @precondition(lambda self: self.vouchers)
    @rule(name=st.sampled_from(("ann", "bob")), index=INDEX)
    def redeem_voucher(self, name: str, index: int) -> None:
        code = pick(list(self.vouchers), index)
        try:
            self.books.redeem_voucher(name, code, by=BY, now=self.now)
        except UnknownError:
            assert code in self.redeemed
        else:
            assert code not in self.redeemed
            self.redeemed.append(code)
            self.model.purses[name].balance += self.vouchers[code]

    @rule(name=st.sampled_from(("ann", "bob")), limits=LIMITS)
    def set_limits(self, name: str, limits: Limits) -> None:
        purse = self.model.purses[name]
        for kind in ("units", "exchanges", "bytes"):
            if getattr(purse.limits, kind) is None or getattr(limits, kind) is None:
                purse.used[kind] = 0
        self.books.set_limits(name, limits, by=BY, now=self.now)
        purse.limit(limits)

    @rule(name=st.sampled_from(("ann", "bob")), node=st.sampled_from(NODES))
    def lease(self, name: str, node: bytes) -> None:
        self.model.reset(self.now)
        purse = self.model.purses[name]
        found = self.books.lease(self.digests[name], node, self.now)
        assert isinstance(found, Lease) is not purse.refused()
        if isinstance(found, Lease):
            purse.parts.setdefault(node, Part()).expires_at = self.now + 300
            assert found.allowance.exchanges == purse.refresh(node, self.now)
            self.leases.append((found, name))

    @precondition(lambda self: self.leases)
    @rule(
        index=INDEX,
        sizes=st.lists(st.sampled_from((10, 50)), min_size=1, max_size=4),
        issued=st.sampled_from((0, -10, -100)),
    )
    def start(self, index: int, sizes: list[int], issued: int) -> None:
        """Exchanges start, whether or not the allowance has room for them."""
        issued_at = self.now - self.now % 10 + issued
        started = [Exchange(size, issued_at=issued_at) for size in sizes]
        self.exchanges += started
        self._start(*pick(self.leases[-4:], index), started)

    @precondition(lambda self: self.leases and self.exchanges)
    @rule(lease=INDEX, exchange=INDEX)
    def start_again(self, lease: int, exchange: int) -> None:
        """A client repeats its envelope, or a receipt was faster than the line of its start."""
        self._start(*pick(self.leases[-4:], lease), [pick(self.exchanges, exchange)])

    @rule(size=st.sampled_from((10, 50)), units=AMOUNTS)
    def settle_unreported(self, size: int, units: int) -> None:
        self.exchanges.append(Exchange(size, issued_at=self.now - self.now % 10))
        self._post([self.exchanges[-1].receipt(units)])

    @precondition(lambda self: self.model.entries)
    @rule(
        index=INDEX,
        node=st.sampled_from(NODES),
        outcome=st.sampled_from(("ok", "refused", "refused")),
        size=st.sampled_from((0, 0, 300)),
    )
    def end(self, index: int, node: bytes, outcome: str, size: int) -> None:
        """An exchange ends, at its node or with another's number."""
        entry = pick(list(self.model.entries.values()), index)
        self._end(node, End(entry.sequence, outcome, 0, size))

    @rule(node=st.sampled_from(NODES))
    def repeat_lines(self, node: bytes) -> None:
        """The node did not hear that its lines were taken."""
        if node in self.last:
            self.model.reset(self.now)
            taken = self.books.take_lines(node, *self.last[node], self.now)
            assert taken.acknowledged == self.sequences[node]

    @precondition(lambda self: self.exchanges)
    @rule(index=INDEX, units=AMOUNTS, started=st.sampled_from((True, True, True, False)))
    def post_any(self, index: int, units: int, started: bool) -> None:
        self._post([pick(self.exchanges, index).receipt(units, started=started)])

    @precondition(lambda self: self._unsettled())
    @rule(chosen=st.lists(st.tuples(INDEX, AMOUNTS), min_size=1, max_size=4))
    def post_unsettled(self, chosen: list[tuple[int, int]]) -> None:
        unsettled = self._unsettled()
        self._post([pick(unsettled, index).exchange.receipt(units) for index, units in chosen])

    @rule(before=st.sampled_from((-300, -90, 0)), ended=st.sampled_from((False,) * 5 + (True,)), index=INDEX)
    def close(self, before: int, ended: bool, index: int) -> None:
        still_open = [pick(self.exchanges, index)] if self.exchanges and not ended else []
        found = watermark(self.now - self.now % 10 + before, still_open=still_open, ended=ended)
        self.books.close_exchanges(found, self.now)
        self.model.close(found)

    @rule(node=st.sampled_from(NODES))
    def release(self, node: bytes) -> None:
        self.books.release_node(node)
        for purse in self.model.purses.values():
            purse.held -= purse.parts.pop(node, Part()).units

    @rule(name=st.sampled_from(("ann", "bob")), node=st.sampled_from(NODES))
    def refresh(self, name: str, node: bytes) -> None:
        self.model.reset(self.now)
        found = self.books.allowances(node, self.now, [self.books.account(name).pseudonym])
        assert [each.exchanges for each in found] == self._refreshed({name}, node)

    @rule(seconds=STEPS)
    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.model.reset(self.now)
        self.books.tidy(self.now)
        self.model.tidy(self.now)

    @rule()
    def reopen(self) -> None:
        """The ledger was killed and started again."""
        self.books.close()
        self.books = Books(self.place)

    @invariant()
    def books_and_model_agree(self) -> None:
        check = self.books.check()
        assert check.problems == ()
        for account in self.books.accounts():
            purse = self.model.purses[account.name]
            assert (account.balance, account.overdraft_bound) == (purse.balance, purse.bound)
            assert account.balance >= -account.overdraft_bound
            limited = {kind: used for kind, used in purse.used.items() if getattr(purse.limits, kind)}
            assert {use.quota: use.used for use in account.uses} == limited
        states = {line.envelope_hash: (line.state, line.units) for line in self.books.lines(None, "*", NOW)}
        assert states == {key: (entry.state, entry.charged) for key, entry in self.model.entries.items()}
        kinds = list(self.model.kept.values())
        assert check.orphans == kinds.count(Outcome.ORPHAN)
        assert check.contradictions == kinds.count(Outcome.CONTRADICTION)

    def _unsettled(self) -> list[Entry]:
        open_states = (State.RESERVED, State.LAPSED)
        return [entry for entry in self.model.entries.values() if entry.state in open_states]

    def _post(self, receipts: list[Receipt]) -> None:
        self.model.reset(self.now)
        expected = self.model.post(receipts, self.now)
        assert self.books.post(receipts, self.now).outcomes == expected

    def _start(self, lease: Lease, name: str, started: list[Exchange]) -> None:
        known = self._known(lease)
        self._take(lease.node, [exchange.start(lease) for exchange in started])
        if known:
            first = self.sequences[lease.node] - len(started) + 1
            self.model.start(self.model.purses[name], started, lease.node, first, self.now)
        assert self.taken == self._refreshed({name} if known else set(), lease.node)

    def _end(self, node: bytes, line: End) -> None:
        self._take(node, [line])
        ended = self.model.end(line, node, self.now)
        touched = {name for name, purse in self.model.purses.items() if ended and purse is ended.account}
        assert self.taken == self._refreshed(touched, node)

    def _take(self, node: bytes, lines: list[Start | End]) -> None:
        self.model.reset(self.now)
        self.last[node] = (self.sequences[node] + 1, lines)
        self.sequences[node] += len(lines)
        taken = self.books.take_lines(node, *self.last[node], self.now)
        self.taken = [each.exchanges for each in taken.allowances]

    def _refreshed(self, names: set[str], node: bytes) -> list[int]:
        purses = [self.model.purses[name] for name in sorted(names)]
        live = [purse for purse in purses if node in purse.parts and purse.parts[node].expires_at > self.now]
        return [purse.refresh(node, self.now) for purse in live]

    def _known(self, lease: Lease) -> bool:
        """The books forget a lease a day after its end, when they are tidied."""
        with self.books._store.reading() as sql:
            return sql.one("SELECT id FROM lease WHERE id = :id", id=lease.id) is not None


def test_the_books_and_a_model_agree_whatever_happens(path: Path) -> None:
    numbers = count(1)

    class OnSqlite(Trade):
        def new_place(self) -> Path:
            return path.with_name(f"{next(numbers)}.db")

    run_state_machine_as_test(OnSqlite, settings=settings(max_examples=50, stateful_step_count=50))


def test_the_books_and_a_model_agree_on_postgresql(postgres: Server) -> None:
    class OnPostgresql(Trade):
        def new_place(self) -> str:
            return postgres.new_place()

    run_state_machine_as_test(OnPostgresql, settings=settings(max_examples=5, stateful_step_count=30))
