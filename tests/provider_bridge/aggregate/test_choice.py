"""Rest, speed, weights and affinity, by a clock in the test's hand."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, cast

import pytest

from blindrelay.provider_bridge.aggregate.choice import Candidate, Chooser
from blindrelay.provider_bridge.aggregate.health import MAX_KEPT, Health, Member
from blindrelay.provider_bridge.aggregate.speed import TRIED_AGAIN, UNTRIED, Speeds
from blindrelay.provider_bridge.aggregate.verdict import MOST_SECONDS, of_error, of_response, retry_after
from blindrelay.provider_bridge.errors import ProviderError
from blindrelay.provider_bridge.upstream.failures import Failure
from blindrelay.v1.inner_pb2 import EXECUTION_NOT_STARTED, EXECUTION_UNKNOWN

A, B, C = (Member("p", name, "m") for name in "abc")


@dataclass
class Time:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def candidate(member: Member, weight: float = 1.0, priority: int = 0) -> Candidate:
    return Candidate(member, cast(Any, None), weight, priority)


class Pool:
    def __init__(self) -> None:
        self.time = Time()
        self.health = Health(self.time)
        self.speeds = Speeds(self.time)
        self.chooser = Chooser(self.health, self.speeds)

    def chosen(self, *candidates: Candidate, times: int = 400) -> Counter[Member]:
        """Who is chosen for many conversations."""
        best = (self.chooser.best(candidates, b"%d" % number) for number in range(times))
        return Counter(each.member for each in best if each is not None)

    def took(self, member: Member, seconds: float) -> None:
        with self.speeds.waiting(member) as arrived:
            self.time.now += seconds
            arrived()


def test_rest_doubles_up_to_its_most_and_ends_with_a_success() -> None:
    time = Time()
    health = Health(time)
    for expected in (2.0, 4.0, 8.0, 10.0, 10.0):
        health.failed(A, 2.0, 10.0)
        assert health.due(A) == expected
        time.now += expected
        assert health.due(A) == 0
    health.succeeded(A)
    health.failed(A, 2.0, 10.0)
    assert health.due(A) == 2.0


def test_after_its_rest_one_call_at_a_time_tries() -> None:
    time = Time()
    health = Health(time)
    health.failed(A, 2.0, 10.0)
    time.now += 2.0
    with health.trial(A):
        assert health.due(A) > 0, "somebody is trying"
    assert health.due(A) == 0, "it neither failed nor succeeded: the client left, say"
    with health.trial(A):
        health.succeeded(A)
        assert health.due(A) == 0
    with health.trial(B):
        assert health.due(B) == 0, "what is healthy takes any number of calls"


def test_provider_rests_until_it_is_reached() -> None:
    """No call has to wait for a connection that may not come."""
    time = Time()
    health = Health(time)
    health.failed(Member("p"), 2.0, 10.0)
    assert health.unreached == []
    time.now += 2.0
    assert health.due(A) > 0
    assert health.unreached == [Member("p")]
    health.failed(Member("p"), 2.0, 10.0)
    assert (health.due(A), health.unreached) == (4.0, [])
    time.now += 4.0
    health.reached(Member("p"))
    assert (health.due(A), health.unreached) == (0.0, [])


@pytest.mark.parametrize(
    ("scope", "resting"),
    [
        (Member("p"), "abc n q"),
        (Member("p", model="m"), "abc"),
        (Member("p", "a"), "a n"),
        (A, "a"),
    ],
)
def test_whom_a_failure_is_about(scope: Member, resting: str) -> None:
    health = Health(Time())
    health.failed(scope, 1.0, 1.0)
    members = {"a": A, "b": B, "c": C, "n": Member("p", "a", "n"), "q": Member("p", "q", "n")}
    assert {name for name, member in members.items() if health.due(member)} == set(resting) - {" "}
    assert not health.due(Member("other", "a", "m"))


def test_memory_of_failures_is_bounded() -> None:
    """Names of models come from clients."""
    health = Health(Time())
    for number in range(MAX_KEPT + 10):
        health.failed(Member("p", "a", f"m{number}"), 1.0, 1.0)
    assert health.resting == MAX_KEPT
    assert not health.due(Member("p", "a", "m0"))
    assert health.due(Member("p", "a", f"m{MAX_KEPT}"))
    pool = Pool()
    for number in range(MAX_KEPT + 10):
        pool.took(Member("p", "a", f"m{number}"), 0.0)
    assert len(pool.speeds._paces) == MAX_KEPT


def test_lower_priority_number_goes_first() -> None:
    pool = Pool()
    group = (candidate(A, priority=1), candidate(B, priority=0), candidate(C, priority=1))
    assert set(pool.chosen(*group)) == {B}
    pool.health.failed(B, 5.0, 5.0)
    assert set(pool.chosen(*group)) == {A, C}


def test_weights_hold_over_conversations() -> None:
    chosen = Pool().chosen(candidate(A, 3.0), candidate(B, 1.0), times=2_000)
    assert 1_384 <= chosen[A] <= 1_616  # 1,500 ± 6 standard deviations


def test_conversation_stays_and_moves_only_while_its_member_rests() -> None:
    pool = Pool()
    group = [candidate(A), candidate(B), candidate(C)]
    best = pool.chooser.best(group, b"conversation")
    assert best is not None
    assert all(pool.chooser.best(group, b"conversation") is best for _ in range(20))
    pool.health.failed(best.member, 5.0, 5.0)
    second = pool.chooser.best(group, b"conversation")
    assert second is not None
    assert second is not best
    others = [each for each in group if each is not best]
    assert pool.chooser.best(others, b"conversation") is second
    pool.time.now += 5.0
    assert pool.chooser.best(group, b"conversation") is best


def test_two_processes_draw_differently() -> None:
    """The key is of the process, so that nobody can tell a conversation by where it goes."""
    group = [candidate(A), candidate(B)]
    draws = [[Pool().chooser.best(group, b"%d" % n) is group[0] for n in range(40)] for _ in range(2)]
    assert draws[0] != draws[1]


def test_slow_member_is_left_alone_while_there_are_quick_ones() -> None:
    pool = Pool()
    group = (candidate(A), candidate(B), candidate(C))
    for member, seconds in ((A, 0.1), (B, 0.2), (C, 3.0)):
        pool.took(member, seconds)
    assert set(pool.chosen(*group)) == {A, B}
    assert set(pool.chosen(candidate(C))) == {C}, "alone it is as quick as anybody"
    for member in (A, B):
        pool.health.failed(member, 10.0, 10.0)
    assert set(pool.chosen(*group)) == {C}
    pool.time.now += TRIED_AGAIN
    assert set(pool.chosen(*group)) == {A, B, C}, "it is tried again"
    with pool.speeds.waiting(C):
        assert set(pool.chosen(*group)) == {A, B}, "by one call"
    pool.took(C, 0.1)
    assert set(pool.chosen(*group)) == {A, B, C}, "it is quick again"


def test_call_that_waits_makes_its_member_slow() -> None:
    pool = Pool()
    group = (candidate(A), candidate(B))
    pool.took(A, 0.1)
    pool.took(B, 0.1)
    with pool.speeds.waiting(A):
        assert set(pool.chosen(*group)) == {A, B}
        pool.time.now += 2.0
        assert set(pool.chosen(*group)) == {B}
        with pool.speeds.waiting(B):
            pool.time.now += 2.0
            assert set(pool.chosen(*group)) == {A, B}, "all are slow: none is left out"
    assert set(pool.chosen(*group)) == {A, B}, "given up: nothing was learned"


def test_nobody_is_slow_beside_an_idle_member() -> None:
    """A conversation would lose its prompt cache whenever a call takes its usual time."""
    pool = Pool()
    pool.took(A, 10.0)
    with pool.speeds.waiting(A):
        pool.time.now += 20.0
        assert set(pool.chosen(candidate(A), candidate(B))) == {A, B}


def test_unknown_member_gets_few_calls_at_once() -> None:
    pool = Pool()
    pool.took(A, 0.1)
    group = (candidate(A), candidate(B))
    with ExitStack() as stack:
        for _ in range(UNTRIED):
            assert set(pool.chosen(*group)) == {A, B}
            stack.enter_context(pool.speeds.waiting(B))
        assert set(pool.chosen(*group)) == {A}


@pytest.mark.parametrize(
    ("status", "headers", "kind", "scope", "seconds", "nothing_ran"),
    [
        (429, [], "busy", A, 5.0, True),
        (429, [(b"retry-after", b"30")], "busy", A, 30.0, True),
        (429, [(b"retry-after", b"999999")], "busy", A, MOST_SECONDS, True),
        (503, [(b"retry-after", b"0")], "overloaded", Member("p", model="m"), 1.0, True),
        (529, [], "overloaded", Member("p", model="m"), 2.0, True),
        (401, [], "refused", Member("p", "a"), 60.0, True),
        (402, [], "refused", Member("p", "a"), 60.0, True),
        (403, [], "not_here", A, 60.0, True),
        (404, [], "not_here", A, 60.0, True),
        (500, [], "failed", Member("p", model="m"), 2.0, False),
        (502, [], "failed", Member("p", model="m"), 2.0, False),
        (504, [], "failed", Member("p", model="m"), 2.0, False),
    ],
)
def test_what_a_status_says(
    status: int,
    headers: list[tuple[bytes, bytes]],
    kind: str,
    scope: Member,
    seconds: float,
    nothing_ran: bool,
) -> None:
    verdict = of_response(A, status, headers, 0.0)
    assert verdict is not None
    assert (verdict.kind, verdict.scope, verdict.first) == (kind, scope, seconds)
    assert verdict.nothing_ran is nothing_ran
    assert verdict.surely is (kind != "not_here")


@pytest.mark.parametrize("status", [200, 204, 301, 400, 405, 409, 413, 422])
def test_other_statuses_are_the_answer(status: int) -> None:
    assert of_response(A, status, [], 0.0) is None


def test_what_an_error_says() -> None:
    dead = of_error(A, ProviderError(Failure.REFUSED, "", EXECUTION_NOT_STARTED))
    assert (dead.scope, dead.nothing_ran) == (Member("p"), True)
    broken = of_error(A, ProviderError(Failure.NO_RESPONSE, "", EXECUTION_UNKNOWN))
    assert (broken.scope, broken.nothing_ran) == (Member("p", model="m"), False)
    full = of_error(A, ProviderError(Failure.NO_CONNECTION_FREE, "", EXECUTION_NOT_STARTED))
    assert (full.most, full.nothing_ran) == (0.0, True), "nobody rests for the bridge's own shortage"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"12", 12.0),
        (formatdate(1_000_030, usegmt=True).encode(), 30.0),
        (formatdate(999_000, usegmt=True).encode(), 1.0),
        (b"", None),
        (b"soon", None),
        (b"-1", None),
        (b"1e9", None),
        (b"\xb2", None),
        (b"9" * 400, MOST_SECONDS),
        (b"Fri, 31 Dec 9999 23:59:59 -9999", None),
    ],
)
def test_retry_after(text: bytes, seconds: float | None) -> None:
    assert retry_after([(b"retry-after", text)], 1_000_000.0) in (seconds, MOST_SECONDS)
    if seconds is not None:
        assert retry_after([(b"retry-after", text)], 1_000_000.0) == seconds
