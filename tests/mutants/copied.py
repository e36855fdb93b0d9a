"""A copy of the repository in a temporary folder, in which mutants are made and tests are run.

Its packages come before the installed ones on PYTHONPATH; `check_imports` proves it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final

from .mutant import ROOT, Mutant, MutantError

PACKAGES: Final = {
    init.parts[-4]: init.parent.name for init in sorted(ROOT.glob("*/blindrelay/*/__init__.py"))
}
"""The folders of packages, and the package in each."""

_BESIDE: Final = ("tests", "bench", "spec", "docs", "deploy", "examples", "pyproject.toml", "README.md")
"""What else tests read."""

_LEFT_OUT: Final = shutil.ignore_patterns("__pycache__", "corpus", "crashers", "node_modules")

TEST_SECONDS: Final = 90
"""For one test. More than PATIENCE in tests/patience.py: one that is cut off counts as failed, even if it
would have passed later."""

LONGEST_RUN: Final = 900
"""Seconds for the tests of one mutant; the slowest take one."""

_WHERE: Final = """
import importlib, sys
for name in sys.argv[1:]:
    print(*importlib.import_module(name).__path__[:1])
"""

_FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (tests/[^\s:]+\.py)", re.MULTILINE)
_PASSED: Final = 0
_SOME_FAILED: Final = 1


@dataclass(frozen=True)
class Copy:
    """One copy, for one job at a time."""

    folder: Path

    @classmethod
    def of_repository(cls, folder: Path) -> Copy:
        """Copies what tests need of the repository to a folder that does not exist yet."""
        folder.mkdir(parents=True)
        for name in (*PACKAGES, *_BESIDE):
            source, target = ROOT / name, folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=_LEFT_OUT)
            else:
                shutil.copy2(source, target)
        return cls(folder)

    def again(self, folder: Path) -> Copy:
        """A copy of this one, with what Python has compiled."""
        return Copy(Path(shutil.copytree(self.folder, folder)))

    def check_imports(self) -> None:
        """Raises MutantError if a package, or the tests, would come from anywhere else."""
        names = [*(f"blindrelay.{package}" for package in PACKAGES.values()), "tests"]
        done = self._run(["-c", _WHERE, *names], compiles=True)
        places = done.stdout.splitlines()
        for name, place in zip_longest(names, places, fillvalue=""):
            if not Path(place).is_relative_to(self.folder):
                raise MutantError(f"{name} would be imported from {place or 'nowhere'}, not from the copy")

    def failing(self, tests: Sequence[str], *, compiles: bool = False) -> Counter[str]:
        """Runs tests; for each file how many of them failed. Raises MutantError if pytest could not run."""
        options = ["-p", "no:cacheprovider", "-q", "--tb=no", "-rfE", "--color=no"]
        command = ["-m", "pytest", *options, f"--timeout={TEST_SECONDS}", *tests]
        done = self._run(command, compiles=compiles)
        failed = Counter(_FAILED.findall(done.stdout))
        if done.returncode not in (_PASSED, _SOME_FAILED) and not failed:
            said = (done.stdout + done.stderr).strip()[-400:]
            raise MutantError(f"pytest ended with exit code {done.returncode}: {said}")
        return failed

    @contextmanager
    def mutated(self, mutant: Mutant) -> Iterator[None]:
        """Has the mutant in the copy while the block runs. Raises MutantError if it cannot be made."""
        path = self.folder / mutant.file
        text = path.read_text("utf-8")
        path.write_text(mutant.applied(text), "utf-8")
        try:
            yield
        finally:
            path.write_text(text, "utf-8")

    def _run(self, arguments: list[str], *, compiles: bool) -> subprocess.CompletedProcess[str]:
        """Runs Python in the copy. It keeps compiled code of the unchanged files only."""
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(str(self.folder / name) for name in PACKAGES)}
        environ.pop("PYTEST_ADDOPTS", None)
        if not compiles:
            environ["PYTHONDONTWRITEBYTECODE"] = "1"
        try:
            return subprocess.run(
                [sys.executable, *arguments],
                cwd=self.folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=LONGEST_RUN,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise MutantError(f"its tests were not over after {LONGEST_RUN} seconds") from None
