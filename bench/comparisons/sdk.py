"""The client library inside the openai SDK, and the SDK alone."""

from __future__ import annotations

from bench.chain import Chain
from bench.measuring import Side, closed, interleaved
from bench.plan import KIB, Plan
from bench.results import Comparison, Point
from bench.session import Session
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
    with Chain() as chain:
        provider = chain.provider()
        bridge = chain.bridge(provider)
        connection = chain.connection(chain.relay(bridge.listening), bridge)
        parts = {name: chain.pids[name] for name in ("relay", "bridge")}
        sides = [
            Side(ALONE, chain.generator("sdk", {"url": f"http://{provider}/v1"}, 4)),
            Side(WITH_US, chain.generator("sealed sdk", {"connection": connection}, 4), parts),
        ]
        for name, work in _LOADS.items():
            made.points.append(Point(name, interleaved(sides, closed(work, 4, plan.seconds), plan.rounds)))
    return made
