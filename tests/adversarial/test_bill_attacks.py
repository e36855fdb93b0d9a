"""Forged, replayed, withheld and altered bills: each attack fails, and its twin succeeds."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from blindrelay.testbed.attacks import ATTACKS
from blindrelay.testbed.attacks.bills import BILL_ATTACKS, BillAttack, run_bill_attack
from blindrelay.testbed.attacks.doubles.double import nothing_missing
from blindrelay.testbed.cli import main


@pytest.mark.parametrize("attack", BILL_ATTACKS, ids=[attack.name for attack in BILL_ATTACKS])
def test_the_attack_fails_and_its_twin_succeeds(attack: BillAttack) -> None:
    assert run_bill_attack(attack).surprises == ()


def test_names_and_sentences() -> None:
    names = [*(attack.name for attack in ATTACKS), *(attack.name for attack in BILL_ATTACKS)]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z0-9-]{1,40}", name) for name in names)
    assert all(attack.about.endswith(".") for attack in BILL_ATTACKS)


def test_unexpected_outcome_is_a_surprise() -> None:
    attack = replace(BILL_ATTACKS[0], double=nothing_missing)
    assert run_bill_attack(attack).surprises == (
        "the twin does not show that the customer is charged for it",
    )
    succeeding = replace(attack, attack=lambda _: True)
    assert run_bill_attack(succeeding).surprises == ("it succeeded: the customer is charged for it",)


def test_the_command_shows_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    assert main(["attack", "bill-replayed"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"bill-replayed +the first receipt stands +the customer is charged for it +as expected", lines[1]
    )
    assert lines[-1] == "1 of 1 attacks on bills as expected, each with its twin"


def test_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", "--json", "relay-inflates"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["attack"], row["as_expected"], row["surprises"]) == ("relay-inflates", True, [])
