"""Streams that are open and say nothing: memory for each, and how soon a new exchange starts among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from bench.chain import Chain, UnavailableError
from bench.forwarders import start_controlled_envoy
from bench.measuring import Measurement, Side, closed
from bench.plan import KIB, Plan
from bench.probes import memory
from bench.results import Comparison, Point
from bench.session import Session
from bench.stands import BARE, CONTROL, OUR_ENVOY, RELAY
from bench.work import Work


def idle_streams(plan: Plan, session: Session) -> Comparison:
    """Sealed traffic through one relay to a sink, which holds the responses after their first record."""
    about = (
        "Streams through one relay process, each after its first record of 256 bytes; then exchanges of "
        "one record each way beside them, one after the other."
    )
    limits = (
        "The sink is not a bridge, which allows 2,000 streams on a relay's connection. Generator and sink "
        "hold as many streams on the same cores. *Bare grpc.aio* forwards messages and does nothing else. "
        "The memory of our relay's Envoy is that of Envoy and its control process."
    )
    made = Comparison("By number of idle streams", about, limits, "idle streams")
    runs = {}
    for name, start in _STARTS.items():
        try:
            runs[name] = _held(plan, name, start)
        except UnavailableError as reason:
            made.skipped.append(f"{name}: {reason}")
    for place, count in enumerate(plan.idle):
        made.points.append(Point(count, {name: [of_side[place]] for name, of_side in runs.items()}))
    return made


_STARTS: dict[str, Callable[[Chain, str], str]] = {
    RELAY: lambda chain, behind: chain.relay(behind, RELAY),
    BARE: lambda chain, behind: chain.pass_through(behind, BARE),
    OUR_ENVOY: lambda chain, behind: start_controlled_envoy(chain, OUR_ENVOY, CONTROL, behind),
}


def _held(plan: Plan, name: str, start: Callable[[Chain, str], str]) -> list[Measurement]:
    """One forwarder's measurement at each number of streams."""
    held = Work(prompt_bytes=256, pieces=2, piece_bytes=256, pieces_per_second=1 / 3_600)
    with Chain() as chain:
        sink = chain.sink()
        given = {**sink, "address": start(chain, sink["address"])}
        if name == OUR_ENVOY:
            given["lease"] = "wanted"
        forwarding = [chain.pids[part] for part in (name, CONTROL) if part in chain.pids]
        holder = chain.generator("raw", given, max(plan.idle))
        newcomer = Side(name, chain.generator("raw", given, 1), {"forwarder": forwarding[0]})
        order = closed(Work(prompt_bytes=2 * KIB, pieces=1, piece_bytes=2 * KIB), 1, plan.seconds)
        newcomer.measure(order)
        empty = _pss(forwarding)
        measured = []
        for count in plan.idle:
            outcome = holder.ask({"do": "hold", "work": asdict(held), "count": count})
            filled = _pss(forwarding)
            measured.append(_with(newcomer.measure(order), outcome, empty, filled))
        holder.ask({"do": "release"})
    return measured


def _pss(pids: Iterable[int]) -> int:
    return sum(memory(pid).pss for pid in pids)


def _with(measured: Measurement, held: dict[str, Any], empty: int, filled: int) -> Measurement:
    count = held["held"]
    errors = {**measured["errors"], **held["errors"]}
    per_stream = (filled - empty) / count if count else 0.0
    return {**measured, "errors": errors, "held": count, "pss": filled, "pss_per_stream": per_stream}
