"""What a tunnel costs in which nobody speaks: cells pass in both directions all the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Final

from bench.leakage.client_process import ask, client_process
from bench.leakage.figures import SHAPES, Figure
from bench.leakage.plan import Plan
from bench.leakage.tunnel_provider import TUNNEL, tunnel_bed
from bench.probes import cpu_seconds
from blindrelay.testbed import Testbed

_MINUTE: Final = 60.0
_MOST: Final = {"balanced": 600.0, "strict": 240.0}
"""Milliseconds of CPU time: half of one for each cell."""


def idle_figures(plan: Plan, tell: Callable[[str], None]) -> list[Figure]:
    """CPU time of relay, bridge and client for a minute of an idle tunnel. Raises TestbedError."""

    async def measured() -> dict[str, dict[str, float]]:
        async with tunnel_bed(None) as (_, bed):
            spent = {}
            for place, shape in enumerate(SHAPES):
                tell(f"{shape}: CPU time of {plan.tunnels} idle tunnels")
                spent[shape] = await asyncio.to_thread(_spent, bed, shape, place, plan)
            return spent

    return _rows(asyncio.run(measured()), plan.tunnels * plan.idle_seconds / _MINUTE)


def _spent(bed: Testbed, shape: str, place: int, plan: Plan) -> dict[str, float]:
    """Seconds of CPU time, by process. `place` is that of the shape: no tunnel's number comes twice."""
    order = {
        "connection": f"{bed.relay}&shape={shape}",
        "url": f"{TUNNEL}{place}",
        "count": plan.tunnels,
        "seconds": plan.idle_seconds,
    }
    with client_process("bench.leakage.idle_tunnels") as client:
        ask(client, json.dumps(order))
        before = {name: cpu_seconds(bed.pids[name]) for name in ("relay", "bridge")}
        client_seconds: float = ask(client, "go")["cpu"]
        spent = {name: cpu_seconds(bed.pids[name]) - since for name, since in before.items()}
        return spent | {"client": client_seconds}


def _rows(spent: dict[str, dict[str, float]], minutes: float) -> list[Figure]:
    row, figures = "CPU of relay, bridge and client, ms for a minute of an idle tunnel", []
    for shape, parts in spent.items():
        figures.append(Figure(row, shape, 1_000 * sum(parts.values()) / minutes, target=_MOST.get(shape)))
    return figures
