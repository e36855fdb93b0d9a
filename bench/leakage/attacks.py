"""What an attacker learns from traces: features, two kinds of models, and how well they do."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from lightgbm import LGBMClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GroupKFold

from bench.leakage.traces import Trace

_FIRST: Final = 250
"""Records whose sizes and gaps are features."""

_OVERHEAD: Final = 28
"""Bytes of a record beside its events."""
_USUAL_WORD: Final = 3
"""Letters of a word over those of the shortest."""
_PLACES: Final = range(4, 250, 4)
"""Words up to which letters are counted."""

_BOOTSTRAPS: Final = 200

_SHUFFLES: Final = 30

Array = Any
"""An array of numpy."""

Model = Callable[[int], Any]
"""Makes a classifier with a seed."""


def features(traces: Sequence[Trace], *, both_ways: bool = False) -> Array:
    """For each trace the first sizes and gaps, sums over all of it, and lengths of words.

    They are those of the messages to the client, or of the client's, too, if `both_ways`.
    """
    rows = [_row(trace.down) + (_row(trace.up) if both_ways else []) for trace in traces]
    return np.array(rows, dtype=np.float32)


def forest(seed: int) -> Any:
    """A random forest."""
    return RandomForestClassifier(n_estimators=200, random_state=seed, n_jobs=1)


def boosting(seed: int) -> Any:
    """Gradient boosting over trees. It has few traces of a class, and fails without regularisation."""
    return LGBMClassifier(
        n_estimators=60,
        learning_rate=0.1,
        num_leaves=15,
        min_child_samples=3,
        max_bin=63,
        colsample_bytree=0.5,
        reg_lambda=1.0,
        n_jobs=1,
        deterministic=True,
        random_state=seed,
        verbose=-1,
    )


MODELS: Final[dict[str, Model]] = {"random forest": forest, "gradient boosting": boosting}


def scores(rows: Array, classes: Sequence[Any], groups: Sequence[Any], model: Model, seed: int) -> Array:
    """For each row of features the chances of all classes, by a model that was not trained with its group."""
    wanted, grouped = _numbered(classes), _numbered(groups)
    found = np.zeros((len(rows), wanted.max() + 1))

    def fill(train: Array, test: Array) -> None:
        fitted = model(seed).fit(rows[train], wanted[train])
        found[np.ix_(test, fitted.classes_)] = fitted.predict_proba(rows[test])

    folds = GroupKFold(min(5, grouped.max() + 1)).split(rows, wanted, grouped)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(fill, *zip(*folds, strict=True)))
    return found


def hits(found: Array, classes: Sequence[Any]) -> Array:
    """For each trace 1.0 if the likeliest class is right."""
    return (found.argmax(axis=1) == _numbered(classes)).astype(float)


def share(found: Array, chosen: Array) -> float:
    """The average of what was found for the chosen traces."""
    return float(found[chosen].mean())


def precision(found: Array, classes: Sequence[Any], chosen: Array) -> float:
    """The average over classes of the area under precision and recall, for the chosen traces."""
    wanted = _numbered(classes)[chosen]
    present = [each for each in range(found.shape[1]) if (wanted == each).any()]
    areas = [average_precision_score(wanted == each, found[chosen, each]) for each in present]
    return float(np.mean(areas))


def chance_precision(found: Array, classes: Sequence[Any], seed: int) -> float:
    """What the same scores reach by chance: with few traces it is more than the share of a class."""
    chance, every = np.random.default_rng(seed), np.arange(len(classes))
    return float(np.mean([precision(chance.permutation(found), classes, every) for _ in range(_SHUFFLES)]))


def rare_precision(found: Array, classes: Sequence[Any], recall: float, rarity: float) -> float:
    """The average precision at a recall, if one trace in `rarity` + 1 is of the class."""
    wanted = _numbered(classes)
    values = []
    for each in range(found.shape[1]):
        own, others = found[wanted == each, each], found[wanted != each, each]
        threshold = np.sort(own)[::-1][max(0, int(np.ceil(recall * len(own))) - 1)]
        true, false = (own >= threshold).mean(), (others >= threshold).mean()
        values.append(true / (true + rarity * false))
    return float(np.mean(values))


def interval(value: Callable[[Array], float], groups: Sequence[Any], seed: int) -> tuple[float, float]:
    """95 % of what `value` gives for samples of whole groups, drawn with replacement."""
    grouped = _numbered(groups)
    members = [np.flatnonzero(grouped == group) for group in range(grouped.max() + 1)]
    chance = np.random.default_rng(seed)
    drawn = [
        value(np.concatenate([members[each] for each in chance.integers(0, len(members), len(members))]))
        for _ in range(_BOOTSTRAPS)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _numbered(values: Sequence[Any]) -> Array:
    """For each value the place of its text among all texts, in order."""
    return np.unique(np.array(list(map(str, values))), return_inverse=True)[1]


def _row(records: Sequence[tuple[float, int]]) -> list[float]:
    times = [at for at, _ in records]
    sizes = [float(size) for _, size in records]
    gaps = [after - before for before, after in zip([0.0, *times], times, strict=False)]
    sums = [len(sizes), sum(sizes), max(times, default=0.0), *_moments(sizes), *_moments(gaps)]
    return [*_fitted(sizes), *_fitted(gaps), *sums, *_lengths(sizes)]


def _lengths(sizes: list[float]) -> list[float]:
    """The letters up to every few words, if records hold whole events: also where several came together."""
    inner = np.array(sizes[1:-1])
    if not len(inner):
        return [0.0] * (len(_PLACES) + 2)
    event = inner.min() - _OVERHEAD
    words = np.maximum(1, np.round((inner - _OVERHEAD) / (event + _USUAL_WORD)))
    letters = inner - _OVERHEAD - words * event
    along, sums = np.cumsum(words), np.cumsum(letters)
    return [*np.interp(_PLACES, along, sums, right=-1.0), along[-1], sums[-1]]


def _fitted(values: list[float]) -> list[float]:
    return [*values[:_FIRST], *[-1.0] * (_FIRST - len(values))]


def _moments(values: list[float]) -> list[float]:
    return [float(np.mean(values)), float(np.std(values)), max(values)] if values else [0.0, 0.0, 0.0]
