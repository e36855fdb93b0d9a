"""What the kit says of programs that answer, that do not, and that answer something else."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from blindrelay.testing.conformance import tampering, vectors
from blindrelay.testing.conformance.tampering import Tamper
from blindrelay.v1.exchange_pb2 import ExchangeResponse

from .conftest import PATIENCE, results_of, run_kit

ACCEPTS = 'for _ in open(0): print(\'{"outcome": "accept"}\', flush=True)'
IGNORANT = "for _ in open(0): print('{\"unsupported\": true}', flush=True)"
KNOWS_IDENTITIES = """
import json
from blindrelay.trust import IdentityError, parse_identity
for line in open(0):
    asked, answer = json.loads(line), {"unsupported": True}
    if asked["question"] == "identity":
        try:
            answer = {"outcome": "accept", "identity": parse_identity(asked["text"]).hex()}
        except IdentityError:
            answer = {"outcome": "mistyped"}
    print(json.dumps(answer), flush=True)
"""


def python(source: str) -> list[str]:
    return [sys.executable, "-c", source]


def test_reference_passes_every_vector(reference: list[str]) -> None:
    results = results_of("--strict", command=reference)
    assert (results["failed"], results["unsupported"]) == ({}, {})


def test_reference_passes_every_live_check(reference: list[str]) -> None:
    results = results_of("--strict", "--live", command=reference)
    assert results["failed"] == {}


def test_answer_and_what_it_should_be_are_named() -> None:
    done = run_kit("--only", "identity/cut", command=python(ACCEPTS))
    expected = 'FAILED identity/cut: outcome is "accept" and should be "mistyped"\n'
    assert (done.returncode, done.stdout) == (1, expected + "0 passed, 1 failed, 0 unsupported\n")


def test_passed_and_unsupported_are_counted_by_question() -> None:
    wanted = ("--only", "identity/", "--only", "key/key")
    done = run_kit(*wanted, command=python(KNOWS_IDENTITIES))
    assert done.stdout.splitlines()[0].startswith("identity    15 passed")
    assert "key          0 passed, 1 unsupported" in done.stdout
    assert done.returncode == 0
    assert run_kit("--strict", *wanted, command=python(KNOWS_IDENTITIES)).returncode == 1


@pytest.mark.parametrize("mode", [[], ["--live"]])
def test_program_that_supports_nothing_fails(mode: list[str]) -> None:
    done = run_kit(*mode, command=python(IGNORANT))
    assert done.returncode == 1
    assert " 0 passed" in done.stdout
    assert "FAILED" not in done.stdout


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import sys; sys.exit(3)", "the program ended without an answer, with exit code 3"),
        ("import time; time.sleep(600)", "the program gave no answer in 1 seconds"),
        ("print('hello', flush=True); input(); input()", "something other than a JSON object: b'hello\\\\n'"),
        ("print([], flush=True); input(); input()", "something other than a JSON object: b'[]\\\\n'"),
        ("print('{\"piece\": 1}', flush=True); input(); input()", "a piece is not hexadecimal: 1"),
    ],
    ids=["dies", "hangs", "prints text", "prints a list", "prints a wrong piece"],
)
def test_program_without_answers_is_an_outcome(source: str, said: str) -> None:
    """Another program is started for the next question. After three the kit stops."""
    timeout = "1" if "in 1 seconds" in said else PATIENCE
    done = run_kit("--timeout", timeout, command=python(source))
    assert done.returncode == 1
    assert done.stdout.count("FAILED ") == 3
    assert said.replace("\\\\n", "\\n") in done.stdout
    assert "GAVE UP: the program did not answer 3 questions in a row" in done.stdout
    assert "Traceback" not in done.stderr


def test_program_without_answers_is_an_outcome_of_live_mode() -> None:
    done = run_kit("--live", command=python("import sys; sys.exit(3)"))
    assert (done.returncode, done.stdout.count("FAILED ")) == (1, 3)
    assert "GAVE UP" in done.stdout


def test_answer_of_another_form_is_an_outcome() -> None:
    source = 'for _ in open(0): print(\'{"records": 5, "encapsulated_secret": []}\', flush=True)'
    results = results_of("--only", "exchange/small, sealed", command=python(source))
    assert results["failed"]["exchange/small, sealed"].startswith("the answer does not have the form")


def test_one_reason_may_stand_for_two() -> None:
    """A program need not tell an altered record from a faulty peer's, but a cut stream from both."""
    source = 'for _ in open(0): print(\'{"outcome": "refused", "parts": []}\', flush=True)'
    wanted = [f"request/stream_{name}" for name in ("bad_tag", "final_first", "no_chunks")]
    arguments = [argument for name in wanted for argument in ("--only", name)]
    assert list(results_of(*arguments, command=python(source))["failed"]) == [wanted[2]]


@pytest.mark.parametrize(
    ("arguments", "command", "said"),
    [
        ([], ["/no/such/program"], "/no/such/program cannot be started"),
        (["--vectors", "docs"], ["true"], "docs has no vectors"),
        (["--speed"], ["true"], "unrecognized arguments: --speed"),
        ([], [], "the following arguments are required: COMMAND"),
    ],
)
def test_wrong_usage(arguments: Sequence[str], command: Sequence[str], said: str) -> None:
    done = run_kit(*arguments, command=command)
    assert done.returncode == 2
    assert said in done.stderr


def test_installed_kit_asks_for_the_vectors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vectors, "_CLONE", tmp_path / "spec" / "vectors")
    with pytest.raises(vectors.VectorsError, match="use --vectors with spec/vectors of a clone"):
        vectors.default_folder()


@pytest.mark.parametrize(
    ("text", "said"),
    [('{"kind": "new"}', "is of a kind that this version does not know"), ("{", "is not a JSON file")],
)
def test_unknown_vector_is_wrong_usage(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "vector.json").write_text(text)
    done = run_kit("--vectors", str(tmp_path), command=["true"])
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize(
    ("tamper", "delivered"),
    [
        (tampering.as_they_are, [0, 1, 2, 3]),
        (tampering.nothing, []),
        (tampering.cut, [0, 1]),
        (tampering.swapped, [0, 2, 1, 3]),
        (tampering.dropped, [0, 2, 3]),
        (tampering.repeated, [0, 1, 1, 2, 3]),
        (tampering.altered, [0, 129, 2, 3]),
        (tampering.response_of([b"\x0a\x01\x07"]), [7]),
    ],
)
async def test_hostile_relay_delivers(tamper: Tamper, delivered: list[int]) -> None:
    async def sent() -> AsyncIterator[bytes]:
        for number in (0, 128, 2, 3) if 129 in delivered else range(4):
            yield ExchangeResponse(sealed=bytes([number])).SerializeToString()

    got = [ExchangeResponse.FromString(message).sealed[0] async for message in tamper(sent())]
    assert got == delivered
