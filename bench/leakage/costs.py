"""What shaping costs: bytes on the wire, CPU time, and time to the first of the text."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from typing import Final

from bench.leakage.client_process import Spent, measured
from bench.leakage.corpus import topic_texts
from bench.leakage.exchanges import of_game
from bench.leakage.figures import SHAPES, Figure
from bench.leakage.plan import Plan
from bench.leakage.traces import Recording
from blindrelay.testbed.trace.scene import Scene, replaying
from blindrelay.testbed.trace.texts import Replay

_TOKENS: Final = 256
_RATE: Final = 100
_BYTES: Final = {"balanced": 1.0, "strict": 1.5}
_CPU: Final = {"balanced": 0.25, "strict": 0.35}
_FIRST: Final = {"balanced": (70.0, 130.0), "strict": (150.0, 300.0)}


def byte_figures(recordings: Sequence[Recording]) -> list[Figure]:
    """The bytes of each counted answer over the same answer unshaped."""
    sums = {recording.shape: _sums(recording) for recording in recordings}
    if "off" not in sums:
        return []
    return [
        Figure(
            f"bytes over unshaped, {tokens:,} tokens at {rate}/s",
            shape,
            total / sums["off"][rate, tokens],
            target=_BYTES.get(shape),
        )
        for shape, found in sums.items()
        for (rate, tokens), total in sorted(found.items())
    ]


def _sums(recording: Recording) -> dict[tuple[int, int], int]:
    return {
        (trace.label["rate"], trace.label["tokens"]): sum(size for _, size in trace.down)
        for trace in recording.of(of_game("bytes"))
    }


def cpu_figures(plan: Plan, seed: int, tell: Callable[[str], None]) -> list[Figure]:
    """CPU time of relay, bridge and client, and the time to the first of the text, interleaved."""
    spent: dict[str, list[Spent]] = {shape: [] for shape in SHAPES}
    first: dict[str, list[float]] = {shape: [] for shape in SHAPES}
    with replaying(_answers(plan, seed), traced=False) as scene:
        for number in range(plan.cpu_rounds):
            for shape in SHAPES if number % 2 == 0 else SHAPES[::-1]:
                tell(f"{shape}: CPU time, round {number + 1} of {plan.cpu_rounds}")
                cost, times = _measured(scene, shape, plan.cpu_exchanges)
                spent[shape].append(cost)
                first[shape] += times
    return _cpu_rows(spent, plan) + _first_rows(first)


def _answers(plan: Plan, seed: int) -> list[Replay]:
    chance = random.Random(seed)
    words = [word for text in topic_texts(1, 200, chance) for word in text.words.split()]
    return [
        Replay(number, " ".join(chance.choices(words, k=_TOKENS)), _gaps(chance))
        for number in range(plan.cpu_exchanges + 1)
    ]


def _gaps(chance: random.Random) -> tuple[float, ...]:
    """The first gap is not a multiple of a tick, so that every place between two ticks is as likely."""
    return (chance.uniform(300, 800), *[1_000 / _RATE] * (_TOKENS - 1))


def _measured(scene: Scene, shape: str, count: int) -> tuple[Spent, list[float]]:
    order = {"connection": f"{scene.connection}&shape={shape}", "count": count}
    spent, said = measured("bench.leakage.streams", order, scene.pids)
    return spent, [at - scene.replays[number].gaps[0] for number, at in said["first"]]


def _cpu_rows(spent: dict[str, list[Spent]], plan: Plan) -> list[Figure]:
    figures = []
    for shape in SHAPES:
        ratios = [
            sum(own.values()) / sum(off.values()) for own, off in zip(spent[shape], spent["off"], strict=True)
        ]
        row = f"CPU of relay, bridge and client over unshaped, {_TOKENS} tokens at {_RATE}/s"
        low, high = (min(ratios), max(ratios)) if len(ratios) > 1 else (None, None)
        figures.append(Figure(row, shape, statistics.median(ratios), low, high, _CPU.get(shape)))
        for part in ("relay", "bridge", "client"):
            each = [1_000 * own[part] / plan.cpu_exchanges for own in spent[shape]]
            row = f"CPU of the {part}, ms an answer"
            figures.append(Figure(row, shape, statistics.median(each)))
    return figures


def _first_rows(first: dict[str, list[float]]) -> list[Figure]:
    figures = []
    for place, share in enumerate((0.5, 0.95)):
        off = _quantile(first["off"], share)
        for shape in SHAPES:
            target = _FIRST[shape][place] if shape in _FIRST else None
            row = f"added time to first text, ms, p{share * 100:.0f}"
            figures.append(Figure(row, shape, _quantile(first[shape], share) - off, target=target))
    return figures


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
