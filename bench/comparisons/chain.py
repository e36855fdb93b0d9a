"""Straight to the provider; through the same parts with sealing taken out; through BlindRelay."""

from __future__ import annotations

from bench.chain import UnavailableError
from bench.measuring import closed, interleaved
from bench.plan import KIB, Plan
from bench.results import Comparison, Point
from bench.session import Session
from bench.stands import SEALED_BY_ENVOY, whole_chain
from bench.work import Work

STREAMED = Work(prompt_bytes=4 * KIB, pieces=32, piece_bytes=32, pieces_per_second=200)
CONCURRENCY = 16

_SHARED = "Client, provider, bridge and relay share the machine's cores; loopback, no TLS."


def throughput(plan: Plan, session: Session) -> Comparison:
    """Sealing's share: as many streamed responses as the machine bears."""
    about = (
        f"Prompts of 4 KiB, answers of {STREAMED.pieces} pieces at {STREAMED.pieces_per_second:g} a second; "
        f"closed loop, {CONCURRENCY} at a time."
    )
    made = Comparison(
        "What sealing costs", about, f"{_SHARED} The machine is saturated on the way through relays."
    )
    sides = whole_chain(session).sides
    order = closed(STREAMED, CONCURRENCY, plan.seconds)
    made.points.append(Point("", interleaved(sides, order, plan.rounds)))
    return made


def added_time(plan: Plan, session: Session) -> Comparison:
    """Time to first token when nothing else runs."""
    work = Work(prompt_bytes=4 * KIB, pieces=8, piece_bytes=32)
    about = "Prompts of 4 KiB, short streamed responses that begin at once; one after the other."
    made = Comparison("Added time to first token", about, f"{_SHARED} Each message wakes a sleeping process.")
    whole = whole_chain(session)
    sides = list(whole.sides)
    try:
        sides.append(whole.side_by_envoy(1))
    except UnavailableError as reason:
        made.skipped.append(f"{SEALED_BY_ENVOY}: {reason}")
    made.points.append(Point("", interleaved(sides, closed(work, 1, plan.seconds), plan.rounds)))
    return made


def payloads(plan: Plan, session: Session) -> Comparison:
    """The curve along the size of the prompt."""
    about = "A prompt of so many bytes, a short response in one body; one after the other, at least three."
    made = Comparison("By size of the prompt", about, _SHARED, "prompt (bytes)")
    sides = whole_chain(session).sides
    for size in plan.payloads:
        work = Work(prompt_bytes=size)
        order = closed(work, 1, plan.curve_seconds)
        runs = interleaved(sides, order, plan.curve_rounds, warm=closed(work, 1, 10.0, at_most=1))
        made.points.append(Point(size, runs))
    return made


def side_by_side(plan: Plan, session: Session) -> Comparison:
    """The curve along the number of streams at once."""
    work = Work(prompt_bytes=KIB, pieces=16, piece_bytes=32, pieces_per_second=20)
    about = "Prompts of 1 KiB, answers of 16 pieces at 20 a second; closed loop, so many at a time."
    limits = f"{_SHARED} One process is the client of all streams, and limits the curve with the rest."
    made = Comparison("By number of streams at once", about, limits, "streams at once")
    sides = whole_chain(session).sides
    for count in plan.concurrencies:
        order = closed(work, count, plan.curve_seconds)
        warm = closed(work, count, 60.0, at_most=min(count, 4))
        made.points.append(Point(count, interleaved(sides, order, 1, warm)))
    return made
