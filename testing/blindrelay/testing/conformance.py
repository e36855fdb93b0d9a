"""Runs an implementation of the protocol, in any language, against the vectors of spec/vectors.

    python -m blindrelay.testing conformance -- COMMAND ARGUMENT…

COMMAND is a program that answers questions: it reads one JSON object a line from its standard input and writes one JSON
object a line to its standard output, in the same order. docs/conformance.md has the questions. A program that does not
know a question answers {"unsupported": true}; such vectors are counted and do not fail.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

Vector = dict[str, Any]
Question = dict[str, Any]
Answer = dict[str, Any]

_NOT_STATED: Final = frozenset({"comment", "expect", "kind"})


class ProgramError(Exception):
    """The program ended, or answered with something that is not a JSON object."""


@dataclass
class Outcome:
    """How many vectors of each kind passed and were not supported, and what failed.

    Attributes:
        failed: for each vector that failed its name and the reason, a sentence.
    """

    passed: Counter[str] = field(default_factory=Counter)
    unsupported: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)


class Program:
    """An implementation that runs as a process and answers questions. It ends with its input."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, question: Question) -> Answer:
        """Raises ProgramError."""
        try:
            return _exchange_lines(self._process.stdin, self._process.stdout, question)
        except (OSError, ValueError) as error:
            raise ProgramError(
                f"the program gave no JSON object to {question['question']}: {error}"
            ) from None

    def end(self) -> None:
        """Closes its input and waits for it."""
        self._process.communicate()


def _exchange_lines(stdin: IO[str] | None, stdout: IO[str] | None, question: Question) -> Answer:
    assert stdin is not None
    assert stdout is not None
    stdin.write(json.dumps(question) + "\n")
    stdin.flush()
    answer = json.loads(stdout.readline())
    if not isinstance(answer, dict):
        raise ValueError("the line is not an object")
    return answer


def run_vectors(command: Sequence[str], vectors: Path) -> Outcome:
    """Asks a program about every vector. Raises ProgramError, OSError if it cannot be started."""
    program, outcome = Program(command), Outcome()
    try:
        for name, vector in _vectors(vectors):
            answers = [(program.ask(question), expected) for question, expected in _questions(vector)]
            if any(answer.get("unsupported") for answer, _ in answers):
                outcome.unsupported[vector["kind"]] += 1
            elif wrong := [difference for each in answers if (difference := _difference(*each))]:
                outcome.failed[name] = wrong[0]
            else:
                outcome.passed[vector["kind"]] += 1
    finally:
        program.end()
    return outcome


def _vectors(folder: Path) -> Iterator[tuple[str, Vector]]:
    for path in sorted(folder.glob("*/*.json")):
        if path.parent.name != "inputs":
            yield f"{path.parent.name}/{path.stem}", json.loads(path.read_text("utf-8"))


def _difference(answer: Answer, expected: Answer) -> str | None:
    for name, value in expected.items():
        if answer.get(name) != value:
            return f"{name} is {_short(answer.get(name))} and should be {_short(value)}"
    return None


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _questions(vector: Vector) -> list[tuple[Question, Answer]]:
    """What is asked about a vector, and the answer to it."""
    return _ASKED[vector["kind"]](vector)


def _once(
    question: str, given: Sequence[str], answered: Sequence[str]
) -> Callable[[Vector], list[tuple[Question, Answer]]]:
    def asked(vector: Vector) -> list[tuple[Question, Answer]]:
        fields = {name: vector[name] for name in given}
        expected = {name: vector[name] for name in answered if name in vector}
        return [({"question": question, **fields}, {"outcome": vector["expect"], **expected})]

    return asked


def _steps(vector: Vector) -> list[tuple[Question, Answer]]:
    steps = [{name: value for name, value in step.items() if name != "expect"} for step in vector["steps"]]
    expected = {"outcomes": [step["expect"] for step in vector["steps"]], "proof": vector.get("proof", [])}
    return [({"question": "directory", "identity": vector["identity"], "steps": steps}, expected)]


def _attempts(vector: Vector) -> list[tuple[Question, Answer]]:
    attempts = [
        {name: value for name, value in each.items() if name != "expect"} for each in vector["attempts"]
    ]
    expected = {"outcomes": [each["expect"] for each in vector["attempts"]]}
    return [({"question": "claim", "attempts": attempts}, expected)]


def _padding(vector: Vector) -> list[tuple[Question, Answer]]:
    lengths = [case["length"] for case in vector["cases"]]
    return [
        (
            {"question": "padding", "lengths": lengths},
            {"padded": [case["padded"] for case in vector["cases"]]},
        )
    ]


def _direction(vector: Vector) -> list[tuple[Question, Answer]]:
    question = {
        "question": "open",
        "direction": vector["kind"],
        "key": vector["key"],
        "records": vector["records"],
    }
    return [(question, {"outcome": vector["expect"], "parts": vector["parts"]})]


_ASKED: Final[dict[str, Callable[[Vector], list[tuple[Question, Answer]]]]] = {
    "identity": _once("identity", ["text"], ["identity"]),
    "key": _once("key", ["config"], ["key_id"]),
    "directory": _steps,
    "envelope": _once("envelope", ["values"], ["envelope_hash"]),
    "encapsulation": _once(
        "decapsulate",
        ["kem_seed", "envelope", "encapsulated_secret"],
        ["exchange_secret", "request_key", "response_key"],
    ),
    "claim": _attempts,
    "padding": _padding,
    "request": _direction,
    "response": _direction,
}
