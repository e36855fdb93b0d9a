"""Fuzzes every target, or those named, each in a process of its own, and prints a table.

python -m tests.fuzz.run                            10,000 executions of each
python -m tests.fuzz.run --runs 1000000 url         a million of one
python -m tests.fuzz.run --runs 0 --seconds 60      a minute of each

New inputs are gathered in build/fuzz/; `python -m tests.fuzz.distil` keeps the few that reach something new.
What is found is saved under tests/fuzz/crashers/, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import json
import queue
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from .target import Target

ROOT: Final = Path(__file__).parents[2]
KEPT: Final = ROOT / "tests" / "fuzz" / "corpus"
CRASHERS: Final = ROOT / "tests" / "fuzz" / "crashers"
WORK: Final = ROOT / "build" / "fuzz"

INPUT_SECONDS: Final = 60
"""For one input. The slowest decoder takes ten milliseconds."""

MEMORY_MIB: Final = 1_024
"""For one process. The interpreter and its libraries take a tenth of it."""

_FORKING: Final = (sys.executable, "-m", "tests.fuzz.forking")
_EXCEPTION: Final = re.compile(r"=== Uncaught Python exception: ===\n(.*)")
_OTHER_END: Final = re.compile(r"ERROR: libFuzzer: (.*)")


@dataclass(frozen=True)
class Outcome:
    """The result of one target.

    Attributes:
        executions: inputs that were tried.
        seconds: whole seconds without the start of the process, as libFuzzer counts.
        edges: branches of blindrelay that were reached.
        finding: what was found, or None.
    """

    name: str
    executions: int
    seconds: int
    edges: int
    finding: str | None

    @property
    def row(self) -> str:
        speed = f"{self.executions // self.seconds:,}" if self.seconds else "-"
        columns = f"{self.name:22}{self.executions:>12,}{speed:>10}{self.edges:>8,}"
        return f"{columns}  {self.finding or 'none'}"


class Forking:
    """A process that forks one for each target. Its own output goes to a file."""

    def __init__(self, registry: str, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as file:
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": file}
            self._process = subprocess.Popen([*_FORKING, registry], cwd=ROOT, text=True, **pipes)
        self._log = log

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def exit_code(self, target: str, log: Path, options: Sequence[str]) -> int:
        """Runs one target. Raises RuntimeError if no process can be forked for it."""
        requests, codes = self._process.stdin, self._process.stdout
        assert requests is not None
        assert codes is not None
        with suppress(BrokenPipeError):
            print(json.dumps([target, str(log), *options]), file=requests, flush=True)
        if not (code := codes.readline()):
            raise RuntimeError(self._log.read_text("utf-8", "replace"))
        return int(code)


@dataclass(frozen=True)
class Runner:
    """How targets are run.

    Attributes:
        free: processes that run no target, at least one for each thread that calls fuzz().
        runs: executions of each, 0 for no limit; seconds: for each, 0 for no limit.
        seed: of the inputs; 0 for new ones in every run.
    """

    free: queue.SimpleQueue[Forking]
    runs: int
    seconds: int
    seed: int = 0
    work: Path = WORK
    kept: Path = KEPT
    crashers: Path = CRASHERS

    def fuzz(self, target: Target) -> Outcome:
        """Runs one target to its end."""
        new, seeds = self.work / target.name / "new", self.work / target.name / "seeds"
        folders = [new, seeds, self.kept / target.name]
        for folder in (*folders, crashers := self.crashers / target.name):
            folder.mkdir(parents=True, exist_ok=True)
        for seed in target.seeds():
            (seeds / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
        options = [*self._options(target), f"-artifact_prefix={crashers}/", *map(str, folders)]
        log, process = self.work / target.name / "log", self.free.get()
        try:
            code = process.exit_code(target.name, log, options)
        finally:
            self.free.put(process)
        for folder in (self.kept / target.name, crashers):
            if not any(folder.iterdir()):
                folder.rmdir()
        return _outcome(target.name, code, log.read_text("utf-8", "replace"))

    def _options(self, target: Target) -> list[str]:
        limits = [
            f"-seed={self.seed}",
            f"-max_len={target.max_size}",
            f"-timeout={INPUT_SECONDS}",
            f"-rss_limit_mb={MEMORY_MIB}",
        ]
        runs = [f"-runs={self.runs}"] if self.runs else []
        seconds = [f"-max_total_time={self.seconds}"] if self.seconds else []
        return [*limits, *runs, *seconds, "-print_final_stats=1"]


def _outcome(name: str, code: int, log: str) -> Outcome:
    return Outcome(
        name,
        executions=_last(r"stat::number_of_executed_units: (\d+)", log),
        seconds=_last(r"Done \d+ runs in (\d+) second", log),
        edges=_last(r" cov: (\d+) ", log),
        finding=_finding(code, log) if code else None,
    )


def _last(pattern: str, log: str) -> int:
    found = re.findall(pattern, log)
    return int(found[-1]) if found else 0


def _finding(code: int, log: str) -> str:
    found = _EXCEPTION.search(log) or _OTHER_END.search(log)
    return found[1].strip() if found else f"ended with exit code {code}: {log.strip()[-200:]}"


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests.fuzz.run", description="Fuzzes every target, or those named."
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all, if none is named")
    parser.add_argument("--runs", type=int, default=10_000, help="executions of each; 0: no limit")
    parser.add_argument("--seconds", type=int, default=0, help="for each target; 0: no limit")
    parser.add_argument("--seed", type=int, default=0, help="the same inputs in every run; 0: new ones")
    parser.add_argument("--jobs", type=int, default=1, help="targets at once")
    parser.add_argument("--registry", default="tests.fuzz.registry", help="the module with TARGETS")
    for option, folder in (("--work", WORK), ("--kept", KEPT), ("--crashers", CRASHERS)):
        parser.add_argument(option, type=Path, default=folder, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a row for each target. Returns 1 if anything was found, 2 if nothing could be run."""
    options = _arguments(arguments)
    known = {target.name: target for target in importlib.import_module(options.registry).TARGETS}
    if unknown := [name for name in options.targets if name not in known]:
        print(f"no target is named {unknown[0]}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    if importlib.util.find_spec("atheris") is None:
        print("Atheris is not installed; it has wheels for Linux only", file=sys.stderr)
        return 2
    if not (options.runs or options.seconds):
        print("a run without --runs or --seconds would never end", file=sys.stderr)
        return 2
    print(f"{'target':22}{'executions':>12}{'per s':>10}{'edges':>8}  finding", flush=True)
    found, free = False, queue.SimpleQueue[Forking]()
    folders = (options.work, options.kept, options.crashers)
    runner = Runner(free, options.runs, options.seconds, options.seed, *folders)
    with ExitStack() as stack:
        for job in range(options.jobs):
            log = options.work / f"forking-{job}.log"
            free.put(stack.enter_context(Forking(options.registry, log)))
        pool = stack.enter_context(ThreadPoolExecutor(options.jobs))
        for outcome in pool.map(runner.fuzz, [known[name] for name in options.targets or known]):
            print(outcome.row, flush=True)
            found = found or outcome.finding is not None
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
