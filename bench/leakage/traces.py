"""Traces: recorded at the tap of the real relay, or from a file of somebody else."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.leakage.exchanges import recorded_in
from bench.leakage.plan import Plan
from blindrelay.testbed.trace.recording import Recorded, record
from blindrelay.testbed.trace.scene import Scene, replaying
from blindrelay.testbed.trace.texts import Replay

Row = tuple[float, str, int]


@dataclass(frozen=True)
class Trace:
    """One exchange at the relay.

    Attributes:
        label: what was said, or by whom.
        rows: milliseconds since the request's first record, "up" or "down", bytes.
        first: milliseconds until the client had text, beyond what the provider took; None if unknown.
    """

    label: Any
    rows: list[Row]
    first: float | None = None

    @property
    def down(self) -> list[tuple[float, int]]:
        """The messages to the client: milliseconds and bytes."""
        return [(at, size) for at, direction, size in self.rows if direction == "down"]

    @property
    def up(self) -> list[tuple[float, int]]:
        """The messages to the bridge."""
        return [(at, size) for at, direction, size in self.rows if direction == "up"]


@dataclass
class Recording:
    """All traces of one shape.

    Attributes:
        seconds: how long it took.
        load: of the machine: the number of processes that wanted to run, before and after.
    """

    shape: str
    traces: list[Trace] = field(default_factory=list)
    seconds: float = 0.0
    load: tuple[float, float] = (0.0, 0.0)

    def of(self, wanted: Callable[[Any], bool]) -> list[Trace]:
        """The traces whose label is wanted."""
        return [trace for trace in self.traces if wanted(trace.label)]


def record_all(replays: Sequence[Replay], shapes: Iterable[str], plan: Plan, folder: Path) -> list[Recording]:
    """Records the replays in every shape, and writes the traces to files in a folder."""
    with replaying(replays) as scene:
        return [_recorded(scene, shape, plan, folder) for shape in shapes]


def load_traces(path: Path) -> list[Trace]:
    """Reads one JSON object a line: label and trace. Raises ValueError for another form."""
    traces = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            given = json.loads(line)
            rows = [(float(at), str(direction), int(size)) for at, direction, size in given["trace"]]
            traces.append(Trace(given["label"], rows, given.get("first")))
        except (ValueError, TypeError, KeyError):
            raise ValueError(f"{path}, line {number}: a label and a trace are needed") from None
    return traces


def _recorded(scene: Scene, shape: str, plan: Plan, folder: Path) -> Recording:
    replays = scene.replays
    numbers = recorded_in(shape, replays)
    recording, before = Recording(shape), os.getloadavg()[0]
    folder.mkdir(parents=True, exist_ok=True)
    with trace_file(folder, shape).open("w", encoding="utf-8") as file:

        def done(recorded: Recorded) -> None:
            gaps = replays[recorded.number].gaps
            first = round(recorded.first - (gaps[0] if gaps else 0.0), 1)
            recording.traces.append(Trace(recorded.label, recorded.trace, first))
            file.write(json.dumps({"label": recorded.label, "trace": recorded.trace, "first": first}) + "\n")
            _tell(shape, len(recording.traces), len(numbers))

        recording.seconds = asyncio.run(timed(record(scene, shape, numbers, plan.parallel[shape], done)))
    recording.load = (before, os.getloadavg()[0])
    return recording


def trace_file(folder: Path, shape: str) -> Path:
    """Where the traces of a shape are written."""
    return folder / f"traces-{shape}.jsonl"


async def timed(work: Coroutine[Any, Any, None]) -> float:
    """Does something, and returns how many seconds it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await work
    return loop.time() - began


def _tell(shape: str, done: int, of: int) -> None:
    if done % 50 == 0 or done == of:
        print(f"{shape}: {done} of {of} recorded", file=sys.stderr, flush=True)
