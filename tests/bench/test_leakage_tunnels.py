"""The leakage lab holds conversations in real tunnels, and counts what idle ones cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.leakage.figures import SHAPES
from bench.leakage.idle_costs import idle_figures
from bench.leakage.plan import QUICK
from bench.leakage.traces import Recording, load_traces, trace_file
from bench.leakage.tunnels import record_tunnels
from blindrelay.sealing import BALANCED

PLAN = replace(QUICK, conversations=2, tunnel_draws=1, tunnels=2, idle_seconds=1.0)
CELLS = {size + 3 for size in BALANCED.sizes[:2]}
"""They grow where a busy machine lets much text wait."""


def silent(_: str) -> None:
    pass


def test_relay_sees_conversations_unshaped_and_cells_shaped(tmp_path: Path) -> None:
    recordings = [Recording("off"), Recording("balanced")]
    record_tunnels(recordings, PLAN, 1, tmp_path, silent)
    for recording in recordings:
        assert sorted(trace.label["conversation"] for trace in recording.traces) == [0, 1]
        assert [trace.rows for trace in load_traces(trace_file(tmp_path, recording.shape))] == [
            list(map(tuple, trace.rows)) for trace in recording.traces
        ]
    off, balanced = (recording.traces for recording in recordings)
    assert len({len(trace.down) for trace in off}) == 2
    for trace in balanced:
        assert {size for _, size in [*trace.down[1:], *trace.up[1:]]} <= CELLS


@pytest.mark.skipif("sys.platform != 'linux'", reason="needs the clocks of other processes")
def test_idle_tunnels_cost_time_only_if_they_are_shaped() -> None:
    spent = {figure.shape: figure.value for figure in idle_figures(PLAN, silent)}
    assert list(spent) == list(SHAPES)
    assert spent["off"] < spent["balanced"]
