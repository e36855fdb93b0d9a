"""As forwarder alone: our relay, a bare grpc.aio, Envoy and nginx pass the same traffic to the same sink."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from bench.measuring import closed, interleaved
from bench.plan import KIB, Plan
from bench.probes import pin
from bench.results import Comparison, Point
from bench.session import Session
from bench.stands import FORWARDED_AT_ONCE, Forwarders, forwarders
from bench.work import Work

EXCHANGE, SPACED, BURST = "one record each way", "streams, 500 records/s each", "streams, at once"

_RECORD = 2 * KIB
_LOADS = {
    EXCHANGE: Work(prompt_bytes=_RECORD, pieces=1, piece_bytes=_RECORD),
    SPACED: Work(prompt_bytes=_RECORD, pieces=64, piece_bytes=_RECORD, pieces_per_second=500),
    BURST: Work(prompt_bytes=_RECORD, pieces=64, piece_bytes=_RECORD),
}


@contextmanager
def _set_apart(stand: Forwarders) -> Iterator[None]:
    """The forwarders get the last core for themselves, one at a time; sink and generators the others."""
    cores = os.sched_getaffinity(0)
    last = max(cores)
    forwarding = [side.pids["forwarder"] for side in stand.sides]
    others = [stand.chain.pids["sink"], *(side.generator.pid for side in stand.sides)]
    try:
        for pid in forwarding:
            pin(pid, [last])
        for pid in others:
            pin(pid, cores - {last})
        yield
    finally:
        for pid in (*forwarding, *others):
            pin(pid, cores)


def _compared(plan: Plan, session: Session, title: str, how: str, *, apart: bool) -> Comparison:
    about = (
        "Records of 2 KiB: exchanges of one each way, or streams of 64; closed loop, "
        f"{FORWARDED_AT_ONCE} at a time. {how}"
    )
    limits = (
        "Sink and generator are Python and slower than Envoy and nginx: compare CPU, not exchanges a second. "
        "*Bare grpc.aio* forwards messages and does nothing else: the least that a relay in Python costs."
    )
    made = Comparison(title, about, limits, "load")
    if apart and len(os.sched_getaffinity(0)) < 2:
        made.skipped.append("everything: this machine has only one core")
        return made
    stand = forwarders(session)
    made.skipped += stand.skipped
    with _set_apart(stand) if apart else nullcontext():
        for name, work in _LOADS.items():
            order = closed(work, FORWARDED_AT_ONCE, plan.seconds)
            made.points.append(Point(name, interleaved(stand.sides, order, plan.rounds)))
    return made


def forwarders_together(plan: Plan, session: Session) -> Comparison:
    """Wherever the kernel puts the processes."""
    return _compared(plan, session, "As forwarder alone", "The kernel places the processes.", apart=False)


def forwarders_apart(plan: Plan, session: Session) -> Comparison:
    """The forwarder on a core of its own."""
    how = "The forwarder has a core to itself, sink and generator share the others."
    return _compared(plan, session, "As forwarder alone, on a core of its own", how, apart=True)
