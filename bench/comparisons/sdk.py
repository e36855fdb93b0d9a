"""The client library inside the openai SDK, and the SDK alone."""

from __future__ import annotations

from bench.measuring import Side, closed, interleaved
from bench.plan import KIB, Plan
from bench.results import Comparison, Point
from bench.session import Session
from bench.stands import whole_chain
from bench.work import Work

ALONE, WITH_US = "openai SDK", "openai SDK, sealed"
WHOLE, STREAMED = "answer in one body", "streamed, 32 pieces"

_LOADS = {
    WHOLE: Work(prompt_bytes=4 * KIB, piece_bytes=256),
    STREAMED: Work(prompt_bytes=4 * KIB, pieces=32, piece_bytes=16, pieces_per_second=500),
}


def sdk(plan: Plan, session: Session) -> Comparison:
    """CPU of the application's process, above all."""
    about = "Prompts of 4 KiB through the asynchronous SDK; four at a time, closed loop."
    limits = "The application's own CPU is the figure: latency has relay and bridge in it."
    made = Comparison("Inside the openai SDK", about, limits, "load")
    stand = whole_chain(session)
    sides = [
        Side(ALONE, stand.chain.generator("sdk", {"url": stand.url}, 4)),
        Side(WITH_US, stand.chain.generator("sealed sdk", {"connection": stand.connection}, 4), stand.behind),
    ]
    for name, work in _LOADS.items():
        made.points.append(Point(name, interleaved(sides, closed(work, 4, plan.seconds), plan.rounds)))
    return made
