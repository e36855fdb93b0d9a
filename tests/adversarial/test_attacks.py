"""The hostile relay: every attack against real parts, every twin against its double."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from blindrelay.testbed import Testbed
from blindrelay.testbed.attacks import ATTACKS, Proof, Row, attacks_named, run_attacks
from blindrelay.testbed.attacks import command as attack_command
from blindrelay.testbed.attacks.bills import BILL_ATTACKS
from blindrelay.testbed.attacks.doubles.double import nothing_missing
from blindrelay.testbed.cli import main

WRONG_BYTE = "a wrong byte reached the application"
NAMES = [attack.name for attack in ATTACKS]


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with Testbed("scripted", replicas=2) as bed:
        yield bed


@pytest.fixture(scope="module")
async def rows(bed: Testbed) -> AsyncIterator[dict[str, Row]]:
    yield {row.attack.name: row for row in await run_attacks(bed, ATTACKS)}  # noqa: PT022 (asynchronous)


def test_attacks_are_listed_and_have_doubles(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(NAMES) == len(set(NAMES))
    assert len(NAMES) >= 100
    assert all(re.fullmatch(r"[a-z0-9-]{1,40}", name) for name in NAMES)
    assert all(attack.about.endswith(".") for attack in ATTACKS)
    assert all(attack.double is not nothing_missing for attack in ATTACKS), "each has a double"
    assert main(["attack", "--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == [*NAMES, *(attack.name for attack in BILL_ATTACKS)]


@pytest.mark.timeout(1_200)  # the first of them runs all, which takes a minute on an idle machine
@pytest.mark.parametrize("name", NAMES)
def test_the_attack_fails_and_its_twin_succeeds(name: str, rows: dict[str, Row]) -> None:
    assert rows[name].surprises == ()


async def test_unexpected_outcome_is_a_surprise(bed: Testbed) -> None:
    attack = replace(attacks_named(["flip-answer-body"])[0], ends=("the whole response",), calls=2)
    (row,) = await run_attacks(bed, [replace(attack, double=nothing_missing)])
    assert row.surprises == (
        "the client got ('AlteredResponseError',), not ('the whole response',)",
        "1 provider calls, not 2",
        f"the twin does not show that {WRONG_BYTE}: it got ('AlteredResponseError',)",
    )


def test_the_command_shows_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    assert main(["attack", "flip-answer-body", "replay-at-once"]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0].split()[0] == "attack"
    assert re.fullmatch(
        r"flip-answer-body +AlteredResponseError +1 call, (?:ok|no end) +record authentication +"
        r"a wrong byte reached the application +as expected",
        lines[1],
    )
    assert lines[-1] == "2 of 2 attacks as expected, each with its twin"
    assert shown.err == ""


def test_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", "--json", "swap-answers"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["attack"], row["provider_calls"], row["as_expected"]) == ("swap-answers", 2, True)
    assert row["client_got"] == ["AlteredResponseError", "AlteredResponseError"]


def test_surprise_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    never = Proof("pigs fly", lambda outcome: False)
    attack = replace(attacks_named(["flip-answer-body"])[0], proof=never)
    monkeypatch.setattr(attack_command, "named", lambda *_: [attack])
    assert main(["attack", "flip-answer-body"]) == 1
    shown = capsys.readouterr()
    assert "SURPRISE\n    the twin does not show that pigs fly" in shown.out
    assert shown.err == "blindrelay-testbed: 1 of 1 attacks were not as expected\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["flip-answr-body"], "there is no attack 'flip-answr-body'; near it: flip-answer-body"),
        (["zzz"], "there is no attack 'zzz'; attack --list shows them all"),
        ([], "say which attacks to run: names, or --all; --list shows them"),
    ],
)
def test_wrong_arguments_are_reported_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["attack", *arguments]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
