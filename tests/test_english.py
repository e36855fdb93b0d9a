"""Docstrings, error messages and help texts are plain English, in sentences of fewer than thirty words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.prose import LONGEST, faults, faults_in, texts

ROOT = Path(__file__).parents[1]
FOLDERS = [*sorted(ROOT.glob("*/blindrelay/*/")), ROOT / "bench"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_prose_is_plain_and_short(folder: Path) -> None:
    assert [str(fault) for fault in faults_in(folder)] == []


@pytest.mark.parametrize(
    "sentence",
    [
        "A status that is none.",
        "The value is no path of this machine.",
        "A source stands there twice.",
        "It leaves in one step of gRPC's.",
        "The way is good.",
        "Nobody hears of it.",
        "Everything but for the key is checked.",
        "Whoever opens it closes it.",
        "It " + "really " * LONGEST + "works.",
    ],
)
def test_translated_and_long_sentences_are_found(sentence: str) -> None:
    assert list(faults(sentence))


@pytest.mark.parametrize(
    "text",
    [
        "Returns None if there is none.",
        "There is no key for this bridge.",
        "It stands in for a provider.",
        "A process of its own.",
        "See `is none` and https://example.com/anew.",
        "Attributes:\n    one: " + "word " * 20 + "\n    two: " + "word " * 20,
        "An example follows.\n\n    " + "word " * 40,
        "The first sentence has " + "word " * 15 + "end. The second has " + "word " * 15 + "end.",
    ],
)
def test_plain_prose_passes(text: str) -> None:
    assert list(faults(text)) == []


PLANTED = {
    "a docstring": '"""It starts anew."""',
    "a function's docstring": 'def f():\n    """It starts anew."""',
    "an attribute's docstring": 'X = 1\n"""It starts anew."""',
    "an error": 'raise ValueError("it starts anew")',
    "an error with a name in it": 'raise ValueError(f"{x} starts anew")',
    "an error of several strings": 'raise ValueError("it starts " + kind + " anew")',
    "an error whose text has a name": 'TEXT = "it starts anew"\nraise ValueError(TEXT)',
    "either error": 'raise ValueError("it ends" if x else "it starts anew")',
    "a help text": 'parser.add_argument("--x", help="start it anew")',
    "an option's help": '@option("--x", help="start it anew")\ndef f(): ...',
    "a printed line": 'print("it starts anew")',
    "a reason": 'check(reason="it starts anew")',
}


@pytest.mark.parametrize("source", PLANTED.values(), ids=PLANTED)
def test_planted_phrase_is_found(source: str, tmp_path: Path) -> None:
    file = tmp_path / "planted.py"
    file.write_text(source)
    assert [fault.what for fault in faults_in(tmp_path)] == ["'anew': again"]


def test_other_strings_are_not_prose() -> None:
    source = 'x = "it starts anew"\nmatch(r"it starts anew")\n# it starts anew\n'
    assert list(texts(source)) == []
