"""The games: what an attacker at the relay wins, with traces of one shape."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from statistics import fmean
from typing import Final

import numpy as np

from bench.leakage import attacks
from bench.leakage.exchanges import is_extra, of_game
from bench.leakage.figures import Figure
from bench.leakage.naming import Guesses, named, trainings
from bench.leakage.traces import Recording, Trace
from blindrelay.sealing import BALANCED, STRICT

RARITY: Final = 10_000
"""How many other conversations there are for each on the topic that somebody looks for."""

_GRID: Final = {"off": 100, "balanced": BALANCED.tick, "strict": STRICT.tick}
_IDENTIFY: Final = {"off": (0.95, True), "balanced": (0.10, False), "strict": (0.03, False)}
_BITS: Final = {"balanced": 5.0, "strict": 1.0}
_TOPIC: Final = {"balanced": 0.02, "strict": 0.01}
_MODEL: Final = {"balanced": 0.25, "strict": 0.15}
_TUNNEL_OFF: Final = 0.9
_TUNNEL_MARGIN: Final = 0.1
"""Above chance. The cells of a tunnel tell nothing, but of few tries a few lucky ones count for much."""

Progress = Callable[[str], None]


def play(recording: Recording, seed: int, tell: Progress) -> list[Figure]:
    """All games that the labels of a recording allow."""
    figures = bits(recording)
    for game in (identify, topic, model, tunnel):
        tell(f"{recording.shape}: {game.__name__}")
        figures += game(recording, seed)
    return figures + endings(recording)


def identify(recording: Recording, seed: int) -> list[Figure]:
    """G1: which of the known answers was it? Each draw is named by who knows the other draws."""
    traces = recording.of(of_game("identify")) or [
        trace for trace in recording.traces if not isinstance(trace.label, dict)
    ]
    answers = [_answer(trace) for trace in traces]
    draws = _numbered(answers)
    if len(set(answers)) < 2 or max(draws) < 1:
        return []
    target, least = _IDENTIFY.get(recording.shape, (None, False))
    count, rows = len(set(answers)), attacks.features(traces)
    row = f"name the answer out of {count} (chance {1 / count:.2g})"
    every = range(len(traces))
    return named(Guesses(row, recording.shape, rows, answers, draws, every, target, least), seed)


def bits(recording: Recording) -> list[Figure]:
    """G2: how much the whole sequence says, of sizes, and of sizes and times to the grid."""
    traces = [trace for trace in recording.traces if _is_counted(trace.label)]
    grid, shape = _GRID.get(recording.shape, 100), recording.shape
    sizes = [tuple(size for _, size in trace.down) for trace in traces]
    timely = traces if shape == "off" else [trace for trace in traces if _on_time(trace, grid)]
    both = [tuple((round(at / grid), size) for at, size in trace.down) for trace in timely]
    target, least = _BITS.get(shape), False
    if shape == "off":
        target, least = 0.99 * math.log2(max(2, len(both))), True
    late = 1 - len(timely) / max(1, len(traces))
    return [
        Figure("bits of the sequence of sizes: the most (log2 of distinct ones)", shape, _distinct(sizes)),
        Figure("the same on average (entropy)", shape, entropy(sizes)),
        Figure(
            f"bits of sizes and times to the grid, of log2 N = {math.log2(max(1, len(traces))):.1f}",
            shape,
            entropy(both) if shape == "off" else _distinct(both),
            target=target,
            least=least,
        ),
        Figure("share of answers with a record that came late, left out above", shape, late),
    ]


def topic(recording: Recording, seed: int) -> list[Figure]:
    """G3 and G4: what is it about? No prompt is in training and test."""
    traces = recording.of(of_game("topic"))
    topics = [trace.label["topic"] for trace in traces]
    prompts = [trace.label["prompt"] for trace in traces]
    if len(set(topics)) < 2 or len(set(prompts)) < 5:
        return []
    figures, rows = [], attacks.features(traces)
    for name, maker in attacks.MODELS.items():
        trained = [attacks.scores(rows, topics, prompts, maker, each) for each in trainings(seed)]
        base = fmean(attacks.chance_precision(found, topics, seed) for found in trained)
        precision = partial(_mean_precision, trained, topics)
        gained = precision(np.arange(len(topics))) - base
        low, high = attacks.interval(precision, prompts, seed)
        row = f"topic out of {len(set(topics))}: AUPRC over chance, {name}"
        target = _TOPIC.get(recording.shape)
        figures.append(Figure(row, recording.shape, gained, low - base, high - base, target))
        rare = fmean(attacks.rare_precision(found, topics, 0.1, RARITY) for found in trained)
        row = f"topic at 1 in {RARITY:,}, a tenth found: times better than chance, {name}"
        figures.append(Figure(row, recording.shape, rare * (RARITY + 1)))
    return figures


def _mean_precision(trained: Sequence[attacks.Array], topics: Sequence[int], chosen: attacks.Array) -> float:
    return fmean(attacks.precision(found, topics, chosen) for found in trained)


def model(recording: Recording, seed: int) -> list[Figure]:
    """Which model speaks, by its rhythm? No text is in training and test."""
    traces = recording.of(of_game("model"))
    models = [trace.label["model"] for trace in traces]
    texts = [trace.label["prompt"] for trace in traces]
    if len(set(models)) < 2 or len(set(texts)) < 2:
        return []
    row = f"name the model out of {len(set(models))} by its rhythm"
    target, rows = _MODEL.get(recording.shape), attacks.features(traces)
    return named(Guesses(row, recording.shape, rows, models, texts, texts, target), seed)


def tunnel(recording: Recording, seed: int) -> list[Figure]:
    """G7: which of the known conversations passed through a tunnel? Records of both directions count."""
    traces = recording.of(of_game("tunnel"))
    conversations = [trace.label["conversation"] for trace in traces]
    draws = _numbered(conversations)
    count = len(set(conversations))
    if count < 2 or max(draws) < 1:
        return []
    least = recording.shape == "off"
    target = _TUNNEL_OFF if least else 1 / count + _TUNNEL_MARGIN
    row = f"name the conversation in a tunnel out of {count} (chance {1 / count:.2g})"
    rows, every = attacks.features(traces, both_ways=True), range(len(traces))
    return named(Guesses(row, recording.shape, rows, conversations, draws, every, target, least), seed)


def endings(recording: Recording) -> list[Figure]:
    """G6: success, length stop, errors and refusal as the relay sees them."""
    traces = recording.of(of_game("ending"))
    if not traces:
        return []
    seen = {tuple(size for _, size in trace.down) for trace in traces}
    row = f"kinds of ending that look different, of {len(traces)}"
    target, least = (2, True) if recording.shape == "off" else (1, False)
    return [Figure(row, recording.shape, len(seen), target=target, least=least)]


def entropy(values: Sequence[Hashable]) -> float:
    """Bits, if every value is as likely as it was frequent."""
    counts, total = Counter(values).values(), len(values)
    return sum(count / total * math.log2(total / count) for count in counts)


def _distinct(values: Iterable[Hashable]) -> float:
    return math.log2(max(1, len(set(values))))


def _on_time(trace: Trace, grid: int) -> bool:
    """Whether each record came less than half a step after its point. A busy machine is late now and then."""
    return all(abs(at - grid * place) < grid / 2 for place, (at, _) in enumerate(trace.down, 1))


def _is_counted(label: object) -> bool:
    """Whether the bits of an exchange count. What only some shapes have would make them differ."""
    return not any((of_game("ending")(label), of_game("tunnel")(label), is_extra(label)))


def _answer(trace: Trace) -> str:
    return str(trace.label["answer"] if isinstance(trace.label, dict) else trace.label)


def _numbered(answers: Sequence[Hashable]) -> list[int]:
    """For each the number of times that it came before."""
    seen: Counter[Hashable] = Counter()
    numbers = []
    for answer in answers:
        numbers.append(seen[answer])
        seen[answer] += 1
    return numbers
