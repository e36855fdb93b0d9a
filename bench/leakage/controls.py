"""Controls that the attacks must win, or they would prove nothing: known leaks, made by hand."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Final

from bench.leakage.figures import Figure
from bench.leakage.games import identify
from bench.leakage.traces import Recording, Trace

_SIZE: Final = 315
_LONGEST_BURST: Final = 5


def speculative(texts: Sequence[str], draws: int, seed: int) -> list[Figure]:
    """G1 with records of one size, in the bursts of a model that guesses its next words.

    How many words a step brings depends on how well their characters can be guessed from the two before.
    """
    chance, certain = random.Random(seed), _Trigrams(texts)
    recording = Recording("off")
    for number, text in enumerate(texts):
        bursts = _bursts(text.split(), certain)
        for _ in range(draws):
            recording.traces.append(Trace({"game": "identify", "answer": number}, _spoken(bursts, chance)))
    row = "control: name the answer by the bursts of a speculating model"
    return [
        Figure(
            f"{row}, {figure.row.rpartition(', ')[2]}",
            "off",
            figure.value,
            figure.low,
            figure.high,
            0.5,
            least=True,
        )
        for figure in identify(recording, seed)
    ]


class _Trigrams:
    """How surely a character follows the two before it."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._three: Counter[str] = Counter()
        self._two: Counter[str] = Counter()
        for text in texts:
            self._three.update(text[place : place + 3] for place in range(len(text) - 2))
            self._two.update(text[place : place + 2] for place in range(len(text) - 2))

    def of(self, word: str) -> float:
        """The average over the characters of a word."""
        known = [word[place : place + 3] for place in range(max(1, len(word) - 2))]
        return sum(self._three[three] / max(1, self._two[three[:2]]) for three in known) / len(known)


def _bursts(words: Sequence[str], certain: _Trigrams) -> list[int]:
    sure = [certain.of(f" {word}") for word in words]
    usual = sorted(sure)[len(sure) // 2] if sure else 0.0
    bursts, length = [], 0
    for each in sure:
        length += 1
        if each < usual or length == _LONGEST_BURST:
            bursts.append(length)
            length = 0
    return bursts


def _spoken(bursts: Sequence[int], chance: random.Random) -> list[tuple[float, str, int]]:
    at, rows = 300 * chance.lognormvariate(0, 0.3), [(0.0, "up", 5_270)]
    for burst in bursts:
        rows += [(at + 0.5 * place, "down", _SIZE) for place in range(burst)]
        at += 60 * chance.lognormvariate(0, 0.15)
    return rows
