"""Large bodies: an upload of 16 MiB, what others notice of it, and memory under a response of a GiB."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from bench.measuring import Measurement, Side, closed, interleaved
from bench.plan import MIB, Plan
from bench.probes import memory, reset_peak
from bench.results import Comparison, Point
from bench.session import Session
from bench.stands import RELAY, SEALED, UNSEALED, forwarders, whole_chain
from bench.work import Work

RAW = "raw gRPC, no bridge"
UPLOAD = 16 * MIB
ALONE, BESIDE = "nothing else runs", "beside uploads of 16 MiB"

_BEATS = 100
"""Pieces a second."""


def upload(plan: Plan, session: Session) -> Comparison:
    """The same bytes: sealed, unsealed, and as gRPC messages of 64 KiB through our relay to a sink."""
    work = Work(prompt_bytes=UPLOAD)
    about = "A prompt of 16 MiB and a short response, one after the other, at least one in a run."
    limits = (
        "The bridge gathers a whole request before it sends it to the provider. So the sealed and the "
        "unsealed way carry the bytes one hop further than raw gRPC, one hop after the other."
    )
    made = Comparison("Upload of 16 MiB", about, limits)
    sides = [*_through_our_relay(session), *whole_chain(session).sides]
    order, warm = closed(work, 1, plan.seconds), closed(work, 1, 60.0, at_most=1)
    made.points.append(Point("", interleaved(sides, order, plan.rounds, warm)))
    return made


def _through_our_relay(session: Session) -> list[Side]:
    relay = next(side for side in forwarders(session).sides if side.name == RELAY)
    return [Side(RAW, relay.generator, {"relay": relay.pids["forwarder"]})]


def heartbeat(plan: Plan, session: Session) -> Comparison:
    """The gaps between the pieces of one stream, alone and while another client uploads."""
    about = f"One stream of {_BEATS} pieces a second; the time between two, 10 ms when nothing disturbs it."
    limits = "Both clients, relay, bridge and provider share the cores, so a gap also holds waits for a core."
    made = Comparison("A stream beside uploads", about, limits)
    whole = whole_chain(session)
    stream = next(side for side in whole.sides if side.name == SEALED)
    seconds = max(1.0, plan.seconds)
    beats = closed(Work(pieces=int(seconds * _BEATS), pieces_per_second=_BEATS), 1, 60.0, at_most=1)
    generator = whole.chain.generator("sealed", {"connection": whole.connection})
    uploads = Side("uploads", generator)
    runs: dict[str, list[Measurement]] = {ALONE: [], BESIDE: []}
    uploads.measure(closed(Work(prompt_bytes=UPLOAD), 1, 60.0, at_most=1))
    with ThreadPoolExecutor(1) as pool:
        for _ in range(plan.rounds):
            runs[ALONE].append(_with_longest_gap(stream.measure(beats)))
            uploading = pool.submit(uploads.measure, closed(Work(prompt_bytes=UPLOAD), 1, seconds))
            runs[BESIDE].append(_with_longest_gap(stream.measure(beats)))
            uploading.result()
    made.points.append(Point("", runs))
    return made


def _with_longest_gap(measured: Measurement) -> Measurement:
    return {**measured, "longest_gap_ms": measured["gap_ms"]["max"]}


def large_response(plan: Plan, session: Session) -> Comparison:
    """What peaks rise by while one large response passes."""
    size = plan.large_response
    about = (
        f"One response of {size // MIB} MiB in one body; peaks of the resident set while it passes, and "
        "before it."
    )
    made = Comparison("Memory under a large response", about, "One run: memory does not vary as time does.")
    sides = [side for side in whole_chain(session).sides if side.name in (SEALED, UNSEALED)]
    small, large = Work(), Work(piece_bytes=size)
    runs = {}
    for side in sides:
        side.measure(closed(small, 1, 30.0, at_most=20))
        processes = {**side.pids, "client": side.generator.pid}
        for pid in processes.values():
            reset_peak(pid)
        before = {name: memory(pid).peak for name, pid in processes.items()}
        measured = side.measure(closed(large, 1, 600.0, at_most=1))
        rise = {name: measured["memory"][name]["peak"] - before[name] for name in processes}
        runs[side.name] = [{**measured, "peak_rise": rise}]
    made.points.append(Point("", runs))
    return made
