"""Breaks one promise after another in a copy of the code, and shows which tests notice.

python -m tests.mutants.run                         every mutant
python -m tests.mutants.run replay-allowed          one, or those named
python -m tests.mutants.run --jobs 2 --write        two at once; what caught them goes to caught.json

The exit code is 1 if a mutant survived or could not be made.
"""

from __future__ import annotations

import argparse
import queue
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .copied import Copy
from .mutant import CAUGHT, LISTS, Mutant, MutantError, load_caught, load_mutants, save_caught

_NAME_WIDTH: Final = 34


@dataclass(frozen=True)
class Outcome:
    """The outcome of one mutant.

    Attributes:
        failed: for each test file that caught it, how many of its tests did.
        problem: why it could not be tried, or None.
    """

    mutant: Mutant
    failed: Counter[str]
    problem: str | None = None

    @property
    def caught(self) -> bool:
        return self.problem is None and bool(self.failed)

    @property
    def row(self) -> str:
        files = ", ".join(f"{file} ({count})" for file, count in sorted(self.failed.items()))
        said = self.problem or files or f"SURVIVED: {self.mutant.breaks}"
        return f"{self.mutant.name:{_NAME_WIDTH}}{said}"


class Runner:
    """Tries mutants, each in a copy that no other job uses."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self._folder = folder
        self._jobs = jobs
        self._free: queue.SimpleQueue[Copy] = queue.SimpleQueue()

    def prepare(self, mutants: Sequence[Mutant]) -> None:
        """Makes the copies. Raises MutantError unless the tests pass in one that has no mutant."""
        first = Copy.of_repository(self._folder / "0")
        first.check_imports()
        tests = sorted({path for mutant in mutants for path in mutant.tests})
        if failed := first.failing(tests, compiles=True):
            raise MutantError(f"tests fail without any mutant: {', '.join(sorted(failed))}")
        for copy in (first, *(first.again(self._folder / str(job)) for job in range(1, self._jobs))):
            self._free.put(copy)

    def attempt(self, mutant: Mutant) -> Outcome:
        """Runs the tests of one mutant against it."""
        copy = self._free.get()
        try:
            with copy.mutated(mutant):
                return Outcome(mutant, copy.failing(mutant.tests))
        except MutantError as problem:
            return Outcome(mutant, Counter(), str(problem))
        finally:
            self._free.put(copy)


def _tried(mutants: Sequence[Mutant], jobs: int) -> list[Outcome]:
    """Prints a row for each mutant as it ends."""
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="blindrelay-mutants-") as folder:
        runner = Runner(Path(folder).resolve(), jobs)
        runner.prepare(mutants)
        print(f"{'mutant':{_NAME_WIDTH}}caught by (tests)", flush=True)
        with ThreadPoolExecutor(jobs) as pool:
            for outcome in pool.map(runner.attempt, mutants):
                print(outcome.row, flush=True)
                outcomes.append(outcome)
    return outcomes


def _record(outcomes: Sequence[Outcome], known: Sequence[Mutant], path: Path) -> None:
    """Records what caught the mutants that were tried, and drops mutants that no longer exist."""
    caught = load_caught(path) | {each.mutant.name: sorted(each.failed) for each in outcomes if each.caught}
    for outcome in outcomes:
        if not outcome.caught:
            caught.pop(outcome.mutant.name, None)
    names = {mutant.name for mutant in known}
    save_caught({name: files for name, files in caught.items() if name in names}, path)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests.mutants.run", description="Tries every mutant, or those named."
    )
    parser.add_argument("mutants", nargs="*", metavar="NAME", help="all, if none is named")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at once")
    parser.add_argument("--write", action="store_true", help="keep what caught them in caught.json")
    parser.add_argument("--lists", type=Path, default=LISTS, help=argparse.SUPPRESS)
    parser.add_argument("--caught", type=Path, default=CAUGHT, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table. 1 if a mutant survived or could not be made, 2 if nothing could be tried."""
    options = _arguments(arguments)
    known = {mutant.name: mutant for mutant in load_mutants(options.lists)}
    if unknown := [name for name in options.mutants if name not in known]:
        print(f"no mutant is named {unknown[0]}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    try:
        outcomes = _tried([known[name] for name in options.mutants or known], max(1, options.jobs))
    except MutantError as problem:
        print(problem, file=sys.stderr)
        return 2
    if options.write:
        _record(outcomes, list(known.values()), options.caught)
    left = [outcome for outcome in outcomes if not outcome.caught]
    print(f"{len(outcomes)} mutants, {len(left)} of them not caught")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
