"""A second of the real thing: processes start, are loaded, and the figures add up; reports come of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.chain import Chain
from bench.cli import main
from bench.measuring import Side, closed
from bench.plan import QUICK
from bench.run import read_run, run
from bench.work import Work

PIECES = 5
COUNT = 6
TINY = replace(QUICK, name="tiny", rounds=1, seconds=0.1, library_seconds=0.01)


def test_a_load_of_known_size_is_counted_in_every_process() -> None:
    work = Work(prompt_bytes=1_000, pieces=PIECES, piece_bytes=20, pieces_per_second=50)
    with Chain() as chain:
        provider = chain.provider()
        bridge = chain.bridge(provider)
        address = chain.relay(bridge.listening)
        generator = chain.generator("sealed", {"connection": chain.connection(address, bridge)})
        parts = {name: chain.pids[name] for name in ("provider", "relay", "bridge")}
        measured = Side("sealed", generator, parts).measure(closed(work, 2, 60.0, at_most=COUNT))
    assert measured["errors"] == {}
    assert measured["exchanges"] == COUNT
    assert COUNT <= measured["pieces"] <= COUNT * (PIECES + 1)
    assert measured["content"]["sent"] == COUNT * len(work.body())
    assert set(measured["cpu_us_per_exchange"]) == {"provider", "relay", "bridge", "client"}
    assert all(cost > 0 for cost in measured["cpu_us_per_exchange"].values())
    # Sealed is never less than what it holds.
    assert measured["wire"]["sent"] > measured["content"]["sent"]
    assert measured["wire"]["received"] > measured["content"]["received"]


def test_a_run_is_written_read_and_reported(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "run.json"
    made = run(TINY, ["record_layer"], out)
    assert read_run(out)["comparisons"] == made["comparisons"]
    assert main(["targets", str(out)]) == 0
    table = capsys.readouterr().out
    assert "| seal 64 KiB in the client over PyNaCl's bare call | ≤ 1.3 × | **" in table
    assert "| added time to first token, p50, idle | ≤ 4 ms | not measured |" in table
