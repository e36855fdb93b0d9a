"""What an account may do at one relay process, on a clock of the test's own."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.relay_node import accounts
from blindrelay.relay_node.accounts import Account, Accounts
from blindrelay.serving import CallRefusedError
from blindrelay.serving.leases import Lease
from blindrelay.v1.ledger_pb2 import Allowance, Limit


class Clock:
    """Seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lease(issued_at: int = 0, **limits: object) -> Lease:
    values: dict[str, object] = {"concurrent": 1_000, "units": 1_000_000} | limits
    return Lease("account", "lease", issued_at, issued_at + 300, **values)  # type: ignore[arg-type]


def allowance(sequence: int, exchanges: int, status: str = "limit_units") -> Allowance:
    return Allowance(account="account", sequence=sequence, exchanges=exchanges, limit=Limit(status=status))


def entered(account: Account) -> int:
    """Runs an exchange. Returns 0, or for how long it has to wait, in seconds."""
    try:
        with account.running():
            return 0
    except CallRefusedError as refusal:
        return refusal.retry_after


@given(
    rate=st.sampled_from([0.1, 1.0, 7.0, 100.0]),
    burst=st.integers(1, 20),
    pauses=st.lists(st.floats(0, 3), max_size=60),
)
def test_no_window_has_more_than_rate_and_burst(rate: float, burst: int, pauses: list[float]) -> None:
    """Refused exchanges do not count. After the hint, at the latest, one is admitted."""
    clock = Clock()
    account = Accounts(clock).of(lease(rate=rate, burst=float(burst)))
    admitted: list[float] = []
    for pause in pauses:
        clock.now += pause
        wait = entered(account)
        if wait:
            clock.now += wait
            assert entered(account) == 0
            assert wait <= 1 / rate + 1
        admitted.append(clock.now)
    for first in range(len(admitted)):
        for last in range(first, len(admitted)):
            most = burst + rate * (admitted[last] - admitted[first]) + 1e-6
            assert last - first + 1 <= most


def test_limits_are_those_of_the_newest_lease(clock: Clock) -> None:
    known = Accounts(clock)
    account = known.of(lease(10, concurrent=1))
    with account.running():
        assert known.of(lease(5, concurrent=5)) is account
        with pytest.raises(CallRefusedError, match="limit_concurrent"), account.running():
            pass
        known.of(lease(20, concurrent=2))
        with account.running():
            pass


def test_account_with_many_left_is_not_at_its_limit(clock: Clock) -> None:
    """However many it may run at once: a ledger allows 1,000 starts at most."""
    known = Accounts(clock)
    account = known.of(lease(concurrent=5_000))
    account.allow(allowance(0, 1_000))
    assert known.at_limit() == set()
    account.allow(allowance(0, accounts.MANY_LEFT))
    assert known.at_limit() == {lease().account}
    few = known.of(lease(10, concurrent=2))
    assert known.at_limit() == set()
    few.allow(allowance(0, 2))
    assert known.at_limit() == {lease().account}


async def test_starts_count_until_the_ledger_has_counted_them(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "ALLOWANCE_SECONDS", 0.0)
    account = Accounts(clock).of(lease())
    account.allow(allowance(0, 2))
    for sequence in (1, 2):
        await account.allowed()
        account.started(sequence)
    with pytest.raises(CallRefusedError, match="limit_units"):
        await account.allowed()
    account.allow(allowance(1, 1))  # the first is in it, the second is not
    with pytest.raises(CallRefusedError):
        await account.allowed()
    account.allow(allowance(2, 1))
    await account.allowed()
    account.allow(allowance(1, 99))  # it was under way for longer
    account.started(3)
    with pytest.raises(CallRefusedError):
        await account.allowed()


async def test_limit_that_nobody_knows_is_overloaded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "ALLOWANCE_SECONDS", 0.0)
    account = Accounts(clock).of(lease())
    account.allow(allowance(0, 0, "any other words"))
    with pytest.raises(CallRefusedError, match="overloaded"):
        await account.allowed()


async def test_account_of_which_the_ledger_has_said_nothing_waits_for_the_ledger(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "ALLOWANCE_SECONDS", 0.0)
    with pytest.raises(CallRefusedError, match="ledger_unavailable"):
        await Accounts(clock).of(lease()).allowed()


async def test_hint_is_less_by_the_time_since_the_ledger_gave_it(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "ALLOWANCE_SECONDS", 0.0)
    account = Accounts(clock).of(lease())
    account.allow(Allowance(account="account", limit=Limit(status="limit_units", retry_after_seconds=13)))
    hints = []
    for seconds in (0, 5, 7.5, 60):
        clock.now = 1_000 + seconds
        with pytest.raises(CallRefusedError) as refused:
            await account.allowed()
        hints.append(refused.value.retry_after)
    assert hints == [13, 8, 6, 1]


def test_account_is_forgotten_when_nothing_is_left_of_it(clock: Clock) -> None:
    """Its debt at the rate, its running exchanges and its unacknowledged starts are kept."""
    known = Accounts(clock)
    account = known.of(lease(0, rate=0.1))
    account.allow(allowance(0, 5))
    with ExitStack() as running:
        running.enter_context(account.running())
        known.forget_old(1_000)
        assert known.of(lease(0)) is account
    known.forget_old(1_000)
    assert known.of(lease(0)) is account, "it has used its rate"
    clock.now += 10
    account.started(7)
    known.forget_old(1_000)
    assert known.of(lease(0)) is account, "the ledger has not counted a start"
    known.allow(allowance(7, 5))
    known.forget_old(299)
    assert known.of(lease(0)) is account, "its lease is valid"
    known.forget_old(300)
    assert known.of(lease(0)) is not account
    known.allow(Allowance(account="nobody"))
