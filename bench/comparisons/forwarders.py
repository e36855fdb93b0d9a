"""As forwarder alone: our relay, Envoy and nginx pass the same sealed traffic to the same sink."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.chain import Chain, UnavailableError
from bench.forwarders import start_envoy, start_nginx
from bench.measuring import Side, closed, interleaved
from bench.plan import KIB, Plan
from bench.probes import pin
from bench.results import Comparison, Point
from bench.session import Session
from bench.work import Work

RELAY, ENVOY, NGINX = "our relay", "Envoy", "nginx"
EXCHANGE, SPACED, BURST = "one record each way", "streams, 500 records/s each", "streams, at once"

_RECORD = 2 * KIB
_SIDE_BY_SIDE = 8
_LOADS = {
    EXCHANGE: Work(prompt_bytes=_RECORD, pieces=1, piece_bytes=_RECORD),
    SPACED: Work(prompt_bytes=_RECORD, pieces=64, piece_bytes=_RECORD, pieces_per_second=500),
    BURST: Work(prompt_bytes=_RECORD, pieces=64, piece_bytes=_RECORD),
}


@dataclass(frozen=True)
class _Bench:
    sides: list[Side]
    skipped: list[str]


@contextmanager
def _forwarders(*, apart: bool) -> Iterator[_Bench]:
    with Chain() as chain:
        sink = chain.sink()
        behind = sink["address"]
        starts: dict[str, Callable[[], str]] = {
            RELAY: lambda: chain.relay(behind, RELAY),
            ENVOY: lambda: start_envoy(chain, ENVOY, behind),
            NGINX: lambda: start_nginx(chain, NGINX, behind),
        }
        sides, skipped = [], []
        for name, start in starts.items():
            try:
                address = start()
            except UnavailableError as reason:
                skipped.append(f"{name}: {reason}")
                continue
            generator = chain.generator("raw", {**sink, "address": address}, _SIDE_BY_SIDE)
            sides.append(Side(name, generator, {"forwarder": chain.pids[name]}))
        if apart:
            _set_apart(chain, sides)
        yield _Bench(sides, skipped)


def _set_apart(chain: Chain, sides: list[Side]) -> None:
    """The forwarders get the last core for themselves, one at a time; sink and generators the others."""
    *others, last = sorted(os.sched_getaffinity(0))
    pin(chain.pids["sink"], others)
    for side in sides:
        pin(side.pids["forwarder"], [last])
        pin(side.generator.pid, others)


def _compared(plan: Plan, title: str, how: str, *, apart: bool) -> Comparison:
    about = (
        f"Records of 2 KiB: exchanges of one each way, or streams of 64; {_SIDE_BY_SIDE} at a time, each "
        "in turn "
        f"as soon as the one before it has ended. {how}"
    )
    limits = (
        "Sink and generator are Python and slower than Envoy and nginx: compare CPU, not exchanges a second."
    )
    made = Comparison(title, about, limits, "load")
    if apart and len(os.sched_getaffinity(0)) < 2:
        made.skipped.append("all of it: there is but one core")
        return made
    with _forwarders(apart=apart) as bench:
        made.skipped += bench.skipped
        for name, work in _LOADS.items():
            order = closed(work, _SIDE_BY_SIDE, plan.seconds)
            made.points.append(Point(name, interleaved(bench.sides, order, plan.rounds)))
    return made


def forwarders_together(plan: Plan, session: Session) -> Comparison:
    """Wherever the kernel puts the processes."""
    return _compared(plan, "As forwarder alone", "The kernel puts every process where it likes.", apart=False)


def forwarders_apart(plan: Plan, session: Session) -> Comparison:
    """The forwarder on a core of its own."""
    how = "The forwarder has a core to itself, sink and generator share the others."
    return _compared(plan, "As forwarder alone, on a core of its own", how, apart=True)
