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


PROSE = {
    "A status that is none.": True,
    "Everything but for the key is checked.": True,
    "It " + "really " * LONGEST + "works.": True,
    "Returns None if there is none.": False,
    "See `is none` and https://example.com/anew.": False,
    "Attributes:\n    one: " + "word " * 20 + "\n    two: " + "word " * 20: False,
    "An example follows.\n\n    " + "word " * 40: False,
    "The first sentence has " + "word " * 15 + "end. The second has " + "word " * 15 + "end.": False,
}


@pytest.mark.parametrize("text", PROSE, ids=lambda text: text[:20])
def test_only_translated_and_long_sentences_are_found(text: str) -> None:
    assert bool(list(faults(text))) is PROSE[text]


@pytest.mark.parametrize(
    "source",
    [
        'def f():\n    """It starts anew."""',
        'X = 1\n"""It starts anew."""',
        'raise ValueError(f"{x} starts anew")',
        'raise ValueError("it ends" if x else "it starts anew")',
        'parser.add_argument("--x", help="start it anew")',
        'check(reason="it starts anew")',
    ],
)
def test_docstrings_messages_and_help_are_prose(source: str) -> None:
    ((_, text),) = (each for each in texts(source) if "anew" in each[1])
    assert list(faults(text)) == ["'anew': again"]
    assert list(texts('x = "it starts anew"\nmatch(r"it starts anew")\n# it starts anew\n')) == []
