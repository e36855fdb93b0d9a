"""A relay that works from a token file, and one that has a ledger."""

from __future__ import annotations

from bench.chain import Chain
from bench.measuring import Side, closed, interleaved
from bench.plan import KIB, Plan
from bench.results import Comparison, Point
from bench.session import Session
from bench.work import Work

TOKENS, LEDGER = "token file", "ledger"
_AT_ONCE = 8


def accounts(plan: Plan, session: Session) -> Comparison:
    """The same sealed traffic through either, to one sink."""
    about = f"Exchanges of one record of 2 KiB each way, {_AT_ONCE} at a time, closed loop."
    limits = (
        "The ledger is a double that takes every line and settles nothing: only the relay is measured. "
        "Generator, sink and double share the relay's cores."
    )
    made = Comparison("What accounts cost the relay", about, limits)
    work = Work(prompt_bytes=2 * KIB, pieces=1, piece_bytes=2 * KIB)
    with Chain() as chain:
        sink = chain.sink()
        ways = {
            TOKENS: {"address": chain.relay(sink["address"], TOKENS)},
            LEDGER: {
                "address": chain.relay(sink["address"], LEDGER, ledger=chain.books()),
                "lease": "wanted",
            },
        }
        sides = [
            Side(name, chain.generator("raw", {**sink, **given}, _AT_ONCE), {"relay": chain.pids[name]})
            for name, given in ways.items()
        ]
        made.points.append(Point("", interleaved(sides, closed(work, _AT_ONCE, plan.seconds), plan.rounds)))
    return made
