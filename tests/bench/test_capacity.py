"""The capacity model, beside a simulation of the busiest minutes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.capacity import Costs, Demand, plan, simulate

MILLION = Demand()


@pytest.mark.parametrize(
    "demand",
    [
        MILLION,
        replace(MILLION, users=50_000),
        replace(MILLION, per_day=2.0, seconds=60.0, records=400.0),
        replace(MILLION, per_day=30.0, seconds=2.0, records=1.0),
    ],
    ids=["a million users", "few users", "long answers", "short answers"],
)
def test_simulated_peak_stays_within_the_plan_when_a_node_is_lost(demand: Demand) -> None:
    costs = Costs()
    planned = plan(demand, costs)
    seen = simulate(demand, costs, planned.nodes - 1, 60.0, seed=1)
    assert seen.streams <= planned.streams
    assert seen.load <= costs.busy * 1.1
    assert seen.load == pytest.approx(planned.load, rel=0.15), "the model is not merely careful"
    assert seen.streams >= 0.7 * planned.streams


def test_fewer_nodes_than_planned_are_too_busy() -> None:
    busy = replace(MILLION, users=10_000_000)
    planned = plan(busy, Costs())
    assert planned.nodes > 2
    seen = simulate(busy, Costs(), (planned.nodes - 1) // 2, 5.0, seed=2)
    assert seen.load > Costs().busy
