"""Sealed peers, library against library, no network; and our record layer against PyNaCl's secretstream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.chain import ROOT
from bench.peers.worker import SIZES, STREAM
from bench.plan import Plan
from bench.programs import PEERS
from bench.results import Comparison, Point
from bench.session import Session

OURS, HPKE_HTTP, EHBP = "BlindRelay", "hpke-http", "tinfoil-ehbp"
OUR_RECORDS, BARE = "BlindRelay's record layer", "PyNaCl's secretstream"
CASES = (*SIZES, STREAM)
RECORD_CASES = tuple(
    f"{action} {size}" for size in ("64 B", "1 KiB", "16 KiB", "64 KiB") for action in ("seal", "open")
)


def libraries(plan: Plan, session: Session) -> Comparison:
    """A whole exchange, both ends in one process: request sealed and opened, response sealed and opened."""
    about = (
        "A body of so many bytes each way; or a request of 1 KiB and a response of 256 pieces of 64 "
        "bytes, one by one."
    )
    limits = (
        "They differ: ours is post-quantum (X-Wing), seals heads, and pads. hpke-http is written in Rust, "
        "seals heads, and needs a shared key. tinfoil-ehbp seals bodies only. Neither is post-quantum."
    )
    made = Comparison("Sealed peers, library against library", about, limits, "case")
    python = PEERS / "python"
    peers: dict[str, Sequence[str | Path]] = {OURS: [sys.executable, "-m", "bench.peers.blindrelay_peer"]}
    if python.exists():
        peers[HPKE_HTTP] = [python, "-m", "bench.peers.hpke_http_peer"]
        peers[EHBP] = [python, "-m", "bench.peers.ehbp_peer"]
    else:
        made.skipped.append(f"{HPKE_HTTP}, {EHBP}: not installed (make .venv-peers/ready)")
    return _in_turn(made, peers, CASES, plan)


def record_layer(plan: Plan, session: Session) -> Comparison:
    """Our record layer, and another library's calls that seal and open a stream of messages."""
    about = "Pieces of a body, one after the other on one direction of an exchange, CPU for each."
    made = Comparison("Records", about, "One process, no network.", "case")
    command = [sys.executable, "-m", "bench.peers.record_layers"]
    return _in_turn(made, {OUR_RECORDS: [*command, "ours"], BARE: [*command, "bare"]}, RECORD_CASES, plan)


def _in_turn(
    made: Comparison, commands: Mapping[str, Sequence[str | Path]], cases: Sequence[str], plan: Plan
) -> Comparison:
    with ExitStack() as stack:
        processes = {name: stack.enter_context(_process(command)) for name, command in commands.items()}
        for case in cases:
            runs: dict[str, list[Any]] = {name: [] for name in processes}
            for _ in range(plan.rounds):
                for name in list(processes):
                    answer = _ask(processes[name], {"case": case, "seconds": plan.library_seconds})
                    if answer is None:
                        made.skipped.append(f"{name}: its process ended at {case!r}")
                        del processes[name]
                    else:
                        runs[name].append(answer)
            made.points.append(Point(case, {name: each for name, each in runs.items() if each}))
        for process in processes.values():
            process.communicate()
    return made


def _process(command: Sequence[str | Path]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def _ask(process: subprocess.Popen[str], case: dict[str, Any]) -> dict[str, float] | None:
    if process.stdin is None or process.stdout is None:
        return None
    try:
        process.stdin.write(json.dumps(case) + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        return None
    line = process.stdout.readline()
    answer: dict[str, float] | None = json.loads(line) if line else None
    return answer
