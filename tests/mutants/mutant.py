"""What a mutant is: one promise broken on purpose, in one place, and the tests that must notice.

The lists are data, `lists/*.toml`. `caught.json` records which tests noticed, as `--write` last found it.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
LISTS: Final = Path(__file__).parent / "lists"
CAUGHT: Final = Path(__file__).parent / "caught.json"


class MutantError(Exception):
    """A mutant cannot be made. The text says which, and why."""


@dataclass(frozen=True)
class Mutant:
    """One change to one file.

    Attributes:
        file: from the root of the repository.
        old: text that occurs once in it; new: its replacement.
        breaks: the promise that is broken, as a sentence.
        tests: files and folders whose tests may catch it.
    """

    name: str
    file: str
    old: str
    new: str
    breaks: str
    tests: tuple[str, ...]

    def applied(self, text: str) -> str:
        """The file's text with the change. Raises MutantError unless `old` occurs exactly once."""
        found = text.count(self.old)
        if found != 1:
            raise MutantError(f"{self.name}: its text occurs {found} times in {self.file}, and not once")
        return text.replace(self.old, self.new)


def load_mutants(lists: Path = LISTS) -> list[Mutant]:
    """The mutants of all lists in a folder, in the order of the lists' names."""
    return [
        Mutant(**entry | {"tests": tuple(entry["tests"])})
        for path in sorted(lists.glob("*.toml"))
        for entry in tomllib.loads(path.read_text("utf-8"))["mutant"]
    ]


def load_caught(path: Path = CAUGHT) -> dict[str, list[str]]:
    """For each mutant's name the test files that caught it."""
    caught: dict[str, list[str]] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return caught


def save_caught(caught: dict[str, list[str]], path: Path = CAUGHT) -> None:
    """Writes what load_caught() reads."""
    path.write_text(json.dumps(caught, indent=1, sort_keys=True) + "\n", "utf-8")
