"""One thing that is asked of a program, how its answer is judged, and what came of it all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from blindrelay.testing.conformance.program import Answer, Program, ProgramError, Question

Judge = Callable[[Answer], str | None]
"""Returns what is wrong with an answer, a sentence, or None."""

_SILENCES: Final = 3
"""After so many questions in a row without an answer, nothing more is asked."""

_SHOWN: Final = 80
"""The most characters of a value in a report."""


@dataclass(frozen=True)
class Check:
    """A question with its judge.

    Attributes:
        name: such as "response/stream_swapped".
    """

    name: str
    question: Question
    judge: Judge

    @property
    def kind(self) -> str:
        """What is asked, such as "open"."""
        kind: str = self.question["question"]
        return kind


@dataclass
class Outcome:
    """What came of the checks.

    Attributes:
        passed, unsupported: how many, by what was asked.
        failed: for each check that failed its name and what is wrong, a sentence.
        gave_up: why the other checks were not made, or None.
    """

    passed: Counter[str] = field(default_factory=Counter)
    unsupported: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    gave_up: str | None = None

    def note(self, kind: str, name: str, wrong: str | None) -> None:
        """Adds what came of one check."""
        if wrong is None:
            self.passed[kind] += 1
        else:
            self.failed[name] = wrong

    def is_success(self, *, strict: bool) -> bool:
        """Whether something passed and nothing failed; with `strict`, whether everything passed."""
        if self.failed or self.gave_up or (strict and self.unsupported):
            return False
        return bool(self.passed)


def run_checks(checks: Iterable[Check], program: Program) -> Outcome:
    """Makes the checks. Raises OSError if the program cannot be started."""
    outcome, silences = Outcome(), 0
    for check in checks:
        try:
            answer = program.ask(check.question)
            silences = 0
        except ProgramError as error:
            outcome.failed[check.name] = str(error)
            silences += 1
            if silences == _SILENCES:
                outcome.gave_up = f"the program did not answer {silences} questions in a row"
                break
            continue
        if answer.get("unsupported") is True:
            outcome.unsupported[check.kind] += 1
        else:
            outcome.note(check.kind, check.name, _judged(check.judge, answer))
    return outcome


def _judged(judge: Judge, answer: Answer) -> str | None:
    try:
        return judge(answer)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return f"the answer does not have the form that is asked for: {error!r} in {short(answer)}"


def equals(**expected: Any) -> Judge:
    """Judges by what fields have to be."""

    def judge(answer: Answer) -> str | None:
        for name, value in expected.items():
            given = answer.get(name)
            if given != value and not (name == "outcome" and _is_coarse(given, value)):
                return f"{name} is {short(given)} and should be {short(value)}"
        return None

    return judge


def _is_coarse(given: object, expected: object) -> bool:
    """An implementation need not tell the two apart (spec/vectors/README.md)."""
    return given == "refused" and expected in ("open_failure", "violation")


def short(value: object) -> str:
    """A value as JSON, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
