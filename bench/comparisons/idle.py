"""Streams that are open and say nothing: memory for each, and how soon a new exchange starts among them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bench.chain import Chain
from bench.measuring import Side, closed
from bench.plan import KIB, Plan
from bench.probes import memory
from bench.results import Comparison, Point
from bench.session import Session
from bench.stands import RELAY
from bench.work import Work


def idle_streams(plan: Plan, session: Session) -> Comparison:
    """Sealed traffic through one relay to a sink, which holds the answers after their first record."""
    about = (
        "Streams through one relay process, each after its first record of 256 bytes; then exchanges of "
        "one record each "
        "way beside them, one after the other."
    )
    limits = (
        "The sink is no bridge: the bridge's own limit is 2,000 streams on a relay's connection. "
        "Generator and sink hold "
        "as many streams on the same cores."
    )
    made = Comparison("By number of idle streams", about, limits, "idle streams")
    held = Work(prompt_bytes=256, pieces=2, piece_bytes=256, pieces_per_second=1 / 3_600)
    with Chain() as chain:
        sink = chain.sink()
        given = {**sink, "address": chain.relay(sink["address"])}
        relay = chain.pids["relay"]
        holder = chain.generator("raw", given, max(plan.idle))
        newcomer = Side(RELAY, chain.generator("raw", given, 1), {"relay": relay})
        order = closed(Work(prompt_bytes=2 * KIB, pieces=1, piece_bytes=2 * KIB), 1, plan.seconds)
        newcomer.measure(order)
        empty = memory(relay).pss
        for count in plan.idle:
            outcome = holder.ask({"do": "hold", "work": asdict(held), "count": count})
            filled = memory(relay).pss
            made.points.append(
                Point(count, {RELAY: [_with(newcomer.measure(order), outcome, empty, filled)]})
            )
        holder.ask({"do": "release"})
    return made


def _with(measured: dict[str, Any], held: dict[str, Any], empty: int, filled: int) -> dict[str, Any]:
    count = held["held"]
    errors = {**measured["errors"], **held["errors"]}
    per_stream = (filled - empty) / count if count else 0.0
    return {**measured, "errors": errors, "held": count, "pss": filled, "pss_per_stream": per_stream}
