"""The lists fit the code, each mutant was caught, and the runner tells a caught mutant from a survivor."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.mutant import ROOT, Mutant, MutantError, load_caught, load_mutants
from tests.mutants.run import main

MUTANTS = load_mutants()
EACH_CAUGHT = load_caught()

SEALING = "sealing/blindrelay/sealing/records.py"
RECORDS = "tests/sealing/test_records.py"
HARMLESS = f"""
[[mutant]]
name = "another-word-in-a-comment"
file = "{SEALING}"
old = "freed memory keeps what was in it"
new = "freed memory keeps its content"
breaks = "Nothing."
tests = ["{RECORDS}"]
"""
HARMFUL = f"""
[[mutant]]
name = "record-of-any-size"
file = "{SEALING}"
old = "None if self._final_opened or len(sealed) > MAX_SEALED_SIZE else"
new = "None if self._final_opened else"
breaks = "A record has at most 69,632 bytes."
tests = ["{RECORDS}"]
"""


def by_name(mutant: Mutant) -> str:
    return mutant.name


def test_names_are_unique() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("mutant", MUTANTS, ids=by_name)
def test_mutant_fits_its_file(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text("utf-8")
    mutated = mutant.applied(text)
    assert mutated != text
    if mutant.file.endswith(".py"):
        compile(mutated, mutant.file, "exec")


@pytest.mark.parametrize("mutant", MUTANTS, ids=by_name)
def test_tests_of_a_mutant_exist(mutant: Mutant) -> None:
    assert mutant.breaks.endswith(".")
    assert mutant.tests
    assert all((ROOT / path).exists() for path in mutant.tests)


@pytest.mark.parametrize("mutant", MUTANTS, ids=by_name)
def test_mutant_was_caught_by_an_existing_test(mutant: Mutant) -> None:
    """If it fails: make mutants ARGS='--write NAME'."""
    caught = EACH_CAUGHT[mutant.name]
    assert caught
    for file in caught:
        assert (ROOT / file).is_file()
        assert any(Path(file).is_relative_to(path) for path in mutant.tests)


def test_only_existing_mutants_are_recorded() -> None:
    assert set(EACH_CAUGHT) == {mutant.name for mutant in MUTANTS}


@pytest.mark.parametrize("text", ["", "old old"], ids=["never", "twice"])
def test_text_must_occur_once(text: str) -> None:
    mutant = Mutant("name", "file.py", "old", "new", "Nothing.", ("tests",))
    with pytest.raises(MutantError, match=r"name: its text occurs \d times in file\.py"):
        mutant.applied(text)


def test_runner_tells_a_caught_mutant_from_a_survivor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists, caught = tmp_path / "lists", tmp_path / "caught.json"
    lists.mkdir()
    (lists / "both.toml").write_text(HARMFUL + HARMLESS, "utf-8")
    common = ["--lists", str(lists), "--caught", str(caught), "--write"]
    assert main([*common]) == 1
    printed = capsys.readouterr().out
    assert f"caught by (tests)\nrecord-of-any-size{' ' * 16}{RECORDS} (" in printed
    assert f"another-word-in-a-comment{' ' * 9}SURVIVED: Nothing." in printed
    assert "2 mutants, 1 of them not caught" in printed
    assert load_caught(caught) == {"record-of-any-size": [RECORDS]}


def test_run_in_which_all_are_caught_succeeds(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text(HARMFUL, "utf-8")
    assert main(["--lists", str(tmp_path), "record-of-any-size"]) == 0


def test_mutant_that_cannot_be_made_fails_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.toml").write_text(HARMFUL.replace("None if", "Never if"), "utf-8")
    assert main(["--lists", str(tmp_path)]) == 1
    assert "record-of-any-size: its text occurs 0 times" in capsys.readouterr().out


def test_unknown_name_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no-such-mutant"]) == 2
    assert "no mutant is named no-such-mutant" in capsys.readouterr().err
