"""Docstrings, error messages and help texts are plain English, in sentences of fewer than thirty words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.prose import LONGEST, faults, faults_in, texts

ROOT = Path(__file__).parents[1]
FOLDERS = [*sorted(ROOT.glob("*/blindrelay/*/")), ROOT / "bench"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_prose_is_plain_and_short(folder: Path) -> None:
    assert list(faults_in(folder)) == []


FOUND = [
    "A status that is none.",
    "Everything but for the key is checked.",
    "Whoever opens it closes it.",
    "It " + "really " * LONGEST + "works.",
]
PASSED = [
    "Returns None if there is none.",
    "There is no key for this bridge.",
    "See `is none` and https://example.com/anew.",
    "Attributes:\n    one: " + "word " * 20 + "\n    two: " + "word " * 20,
    "An example follows.\n\n    " + "word " * 40,
    "The first sentence has " + "word " * 15 + "end. The second has " + "word " * 15 + "end.",
]


@pytest.mark.parametrize("text", [*FOUND, *PASSED], ids=lambda text: text[:20])
def test_only_translated_and_long_sentences_are_found(text: str) -> None:
    assert bool(list(faults(text))) is (text in FOUND)


PLANTED = {
    "a function's docstring": 'def f():\n    """It starts anew."""',
    "an attribute's docstring": 'X = 1\n"""It starts anew."""',
    "an error": 'raise ValueError("it starts anew")',
    "an error with a name in it": 'raise ValueError(f"{x} starts anew")',
    "either error": 'raise ValueError("it ends" if x else "it starts anew")',
    "a help text": 'parser.add_argument("--x", help="start it anew")',
    "a printed line": 'print("it starts anew")',
    "a reason": 'check(reason="it starts anew")',
}


@pytest.mark.parametrize("source", PLANTED.values(), ids=PLANTED)
def test_planted_phrase_is_found(source: str, tmp_path: Path) -> None:
    file = tmp_path / "planted.py"
    file.write_text(source)
    (fault,) = faults_in(tmp_path)
    assert fault.endswith(": 'anew': again")
    assert list(texts('x = "it starts anew"\nmatch(r"it starts anew")\n# it starts anew\n')) == []
