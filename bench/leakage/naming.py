"""Games in which an attack names one of several: an answer, a model, a conversation."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from bench.leakage import attacks
from bench.leakage.figures import Figure

_REPEATS: Final = 3
"""How often an attack is trained. Where nothing leaks, one training is as lucky as a throw of dice."""


@dataclass(frozen=True)
class Guesses:
    """What is to be named.

    Attributes:
        row, shape: of the figures.
        rows: the features of each trace.
        classes: of each trace, what is to be named.
        groups: of each trace. What is trained on no group is tested on it.
        drawn: the groups of the interval.
        target: see Figure.
        least: whether this is a control, which an attack wins with its first training.
    """

    row: str
    shape: str
    rows: attacks.Array
    classes: Sequence[Hashable]
    groups: Sequence[Hashable]
    drawn: Sequence[Hashable]
    target: float | None
    least: bool = False


def trainings(seed: int) -> range:
    """The seeds with which an attack is trained."""
    return range(seed * _REPEATS, (seed + 1) * _REPEATS)


def named(guesses: Guesses, seed: int) -> list[Figure]:
    """The share of traces whose class was named, for each attack."""
    return [_named(guesses, name, model, seed) for name, model in attacks.MODELS.items()]


def _named(guesses: Guesses, attack: str, model: attacks.Model, seed: int) -> Figure:
    seeds = trainings(seed)[:1] if guesses.least else trainings(seed)
    found = np.mean([_hits(guesses, model, each) for each in seeds], axis=0)
    low, high = attacks.interval(partial(attacks.share, found), guesses.drawn, seed)
    row = f"{guesses.row}, {attack}"
    return Figure(row, guesses.shape, float(found.mean()), low, high, guesses.target, guesses.least)


def _hits(guesses: Guesses, model: attacks.Model, seed: int) -> attacks.Array:
    found = attacks.scores(guesses.rows, guesses.classes, guesses.groups, model, seed)
    return attacks.hits(found, guesses.classes)
