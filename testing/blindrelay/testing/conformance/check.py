"""One question to a program, how its answer is judged, and the results of all questions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from blindrelay.testing.conformance.program import Answer, Program, ProgramError, Question

Judge = Callable[[Answer], str | None]
"""Returns what is wrong with an answer, a sentence, or None."""

MAX_SILENCES: Final = 3
"""Unanswered questions in a row after which no more are asked."""

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
    """The results of the checks.

    Attributes:
        passed, unsupported: how many, by what was asked.
        failed: for each check that failed its name and what is wrong, a sentence.
        silences: how often in a row there was no answer.
    """

    passed: Counter[str] = field(default_factory=Counter)
    unsupported: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    silences: int = 0

    @property
    def gave_up(self) -> bool:
        """Whether the other checks were not made, because the program did not answer."""
        return self.silences == MAX_SILENCES

    def note(self, kind: str, name: str, wrong: str | None) -> None:
        """Adds the result of a check: what is wrong, or None."""
        self.silences = 0
        if wrong is None:
            self.passed[kind] += 1
        else:
            self.failed[name] = wrong

    def note_unsupported(self, kind: str) -> None:
        """Adds a question that the program does not know."""
        self.silences = 0
        self.unsupported[kind] += 1

    def note_silence(self, name: str, error: ProgramError) -> None:
        """Adds a question that the program did not answer."""
        self.silences += 1
        self.failed[name] = str(error)

    def is_success(self, *, strict: bool) -> bool:
        """Whether something passed and nothing failed; with `strict`, whether everything passed."""
        return bool(self.passed) and not self.failed and not (strict and self.unsupported)


class Wanted:
    """Which checks are made: those of these names, and all of a folder whose name ends in a slash."""

    def __init__(self, names: Sequence[str] | None) -> None:
        self._names = names

    def __contains__(self, name: str) -> bool:
        return self._names is None or any(
            name == each or (each.endswith("/") and name.startswith(each)) for each in self._names
        )


def run_checks(checks: Iterable[Check], program: Program) -> Outcome:
    """Makes the checks. Raises OSError if the program cannot be started."""
    outcome = Outcome()
    for check in checks:
        try:
            answer = program.ask(check.question)
        except ProgramError as error:
            outcome.note_silence(check.name, error)
            if outcome.gave_up:
                break
            continue
        if answer.get("unsupported") is True:
            outcome.note_unsupported(check.kind)
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
