"""Clients that do not read: what they cost the forwarder, and whether another call waits for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from bench.chain import Chain, UnavailableError
from bench.forwarders import start_controlled_envoy
from bench.measuring import Measurement, Side, closed
from bench.plan import KIB, Plan
from bench.probes import memory
from bench.results import Comparison, Point
from bench.session import Session
from bench.stands import CONTROL, OUR_ENVOY, RELAY
from bench.work import Work

READERS = 50

_UNREAD = Work(prompt_bytes=KIB, pieces=256, piece_bytes=64 * KIB)
_CALL = Work(prompt_bytes=2 * KIB, pieces=1, piece_bytes=2 * KIB)

_STARTS: dict[str, Callable[[Chain, str], str]] = {
    RELAY: lambda chain, behind: chain.relay(behind, RELAY),
    OUR_ENVOY: lambda chain, behind: start_controlled_envoy(chain, OUR_ENVOY, CONTROL, behind),
}


def stalled_readers(plan: Plan, session: Session) -> Comparison:
    """Sealed traffic to a sink, which answers more than anybody reads."""
    about = (
        f"{READERS} streams of 16 MiB, each at once, of which the client reads the first record of 64 KiB. "
        "Beside them, on another connection, exchanges of one record of 2 KiB each way, one after the other."
    )
    limits = (
        "All streams go to the sink on the forwarder's connections to it. Memory is that of the forwarder."
    )
    made = Comparison("Clients that do not read", about, limits, "streams that nobody reads")
    runs = {}
    for name, start in _STARTS.items():
        try:
            runs[name] = [_stalled(plan, name, start) for _ in range(plan.curve_rounds)]
        except UnavailableError as reason:
            made.skipped.append(f"{name}: {reason}")
    for place, count in enumerate((0, READERS)):
        made.points.append(
            Point(count, {name: [run[place] for run in of_side] for name, of_side in runs.items()})
        )
    return made


def _stalled(plan: Plan, name: str, start: Callable[[Chain, str], str]) -> tuple[Measurement, Measurement]:
    """One forwarder without such clients, and with them."""
    with Chain() as chain:
        sink = chain.sink()
        given = {**sink, "address": start(chain, sink["address"])}
        if name == OUR_ENVOY:
            given["lease"] = "wanted"
        holder = chain.generator("raw", given, READERS)
        other = Side(name, chain.generator("raw", given, 1), {"forwarder": chain.pids[name]})
        order = closed(_CALL, 1, plan.seconds)
        other.measure(order)
        alone = _with_memory(other.measure(order), chain.pids[name])
        outcome = holder.ask({"do": "hold", "work": asdict(_UNREAD), "count": READERS, "read": False})
        other.measure(order)
        beside = _with_memory(other.measure(order), chain.pids[name])
        holder.ask({"do": "release"})
    return alone, {**beside, "held": outcome["held"], "errors": {**beside["errors"], **outcome["errors"]}}


def _with_memory(measured: Measurement, pid: int) -> Measurement:
    return {**measured, "pss": memory(pid).pss}
