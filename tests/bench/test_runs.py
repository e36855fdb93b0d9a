"""Short real runs: processes start, are loaded, and the figures add up; reports are written."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.chain import BRIDGE, UNSEALED_BRIDGE, Chain
from bench.cli import main
from bench.comparisons import COMPARISONS
from bench.comparisons.large import BESIDE
from bench.comparisons.libraries import RECORD_CASES
from bench.measuring import Side, closed
from bench.plan import QUICK, Plan
from bench.results import Comparison, Point
from bench.run import read_run, run, write_run
from bench.session import Session
from bench.work import Work
from blindrelay.testbed import Testbed

PIECES = 5
COUNT = 6
TINY = replace(QUICK, name="tiny", rounds=1, seconds=0.1, library_seconds=0.01)


@pytest.mark.parametrize(("way", "module"), [("sealed", BRIDGE), ("unsealed", UNSEALED_BRIDGE)])
def test_load_is_counted_in_every_process(way: str, module: str) -> None:
    work = Work(prompt_bytes=1_000, pieces=PIECES, piece_bytes=20, pieces_per_second=50)
    with Chain() as chain:
        provider = chain.provider()
        bridge = chain.bridge(provider, module=module)
        address = chain.relay(bridge.listening)
        generator = chain.generator(way, {"connection": chain.connection(address, bridge)})
        parts = {name: chain.pids[name] for name in ("provider", "relay", "bridge")}
        measured = Side(way, generator, parts).measure(closed(work, 2, 60.0, at_most=COUNT))
    assert measured["errors"] == {}
    assert measured["exchanges"] == COUNT
    assert COUNT <= measured["pieces"] <= COUNT * (PIECES + 1)
    assert measured["content"]["sent"] == COUNT * len(work.body())
    assert set(measured["cpu_us_per_exchange"]) == {"provider", "relay", "bridge", "client"}
    assert all(cost > 0 for cost in measured["cpu_us_per_exchange"].values())
    # Sealed is never less than what it holds.
    assert measured["wire"]["sent"] > measured["content"]["sent"]
    assert measured["wire"]["received"] > measured["content"]["received"]


def test_own_relay_gets_calls_or_fails_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Testbed("scripted") as bed:
        relay = f"relay={bed.pids['relay']}"
        short = ["--calls", "3", "--rounds", "2", "--direct", f"{bed.provider}/v1"]
        assert main(["own", bed.relay, *short, "--pid", relay]) == 0
        printed = capsys.readouterr()
        assert "This sends up to 16 calls" in printed.err
        assert all(word in printed.out for word in ("| sealed |", "| straight |", "relay "))
        wrong = {
            "no connection": re.sub(r"@127\.0\.0\.1:\d+", "@127.0.0.1:1", bed.relay),
            "HTTP 401": re.sub(r"brt_.{8}", "brt_00000000", bed.relay),
            "connection string": "nonsense",
        }
        for reason, connection in wrong.items():
            assert main(["own", connection, "--calls", "1"]) == 1
            *_, last = capsys.readouterr().err.splitlines()
            assert last.startswith("bench own: ")
            assert reason in last


def test_run_becomes_a_page_with_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison that fails does not stop the rest."""

    def fails(plan: Plan, session: Session) -> Comparison:
        raise RuntimeError("no such thing")

    monkeypatch.setitem(COMPARISONS, "sdk", fails)
    out, page = tmp_path / "run.json", tmp_path / "docs" / "page.md"
    made = run(TINY, ["sdk", "record_layer"], out)
    assert made["comparisons"]["sdk"].skipped == ["everything: RuntimeError: no such thing"]
    assert read_run(out)["comparisons"] == made["comparisons"]
    assert main(["document", str(out), "--page", str(page)]) == 0
    text = page.read_text()
    assert "| seal 64 KiB in the client over PyNaCl's secretstream call | ≤ 0.5 × | **" in text
    assert "| added time to first token, p50, idle | ≤ 5.5 ms | not measured |" in text
    rows = list(csv.DictReader((page.parent / "page/record_layer.csv").read_text().splitlines()))
    assert {(row["at"], row["figure"]) for row in rows} == {(case, "cpu_us") for case in RECORD_CASES}
    assert "[record_layer.csv](record_layer.csv)" in (page.parent / "page/data.md").read_text()


def test_compare_shows_only_clear_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = {"time": "", "commit": "", "processor": "", "cores": 2}
    files = []
    for name, moved in (("old", (100.0, 110.0)), ("new", (50.0, 60.0))):
        sides = {"moved": moved, "same": (70.0, 80.0)}
        runs = {side: [{"cpu_us": cpu} for cpu in costs] for side, costs in sides.items()}
        gaps = {BESIDE: [{"longest_gap_ms": gap / 2} for gap in moved]}
        comparisons = {
            "libraries": Comparison("", "", "", points=[Point("case", runs)]),
            "heartbeat": Comparison("", "", "", points=[Point("", gaps)]),
        }
        files.append(str(tmp_path / f"{name}.json"))
        write_run({"machine": machine, "plan": {}, "comparisons": comparisons}, Path(files[-1]))
    assert main(["compare", *files]) == 0
    said = capsys.readouterr().out
    assert "| libraries, case, moved | cpu_us | 105 | 55 | 0.524 | yes |" in said
    assert "longest gap of another stream's 10 ms | ≤ 50 ms | 52.5 (50-55) | 27.5 (25-30) |" in said
    assert "same" not in said
