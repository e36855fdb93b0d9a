"""What is recorded in every shape: one list of replays, each with a label that tells its games."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from bench.leakage.corpus import known_answers, topic_texts
from bench.leakage.plan import Plan
from bench.leakage.rhythms import MODELS, USUAL, Rhythm
from blindrelay.testbed.trace.texts import Ending, Replay, pieces

RATES: Final = (30, 100, 300)
LENGTHS: Final = (256, 1_000)
"""Tokens a second and tokens of the answers whose bytes are counted."""

_STRICT: Final = ["strict"]
_SHAPED: Final = ["balanced", "strict"]
"""Shapes with more exchanges of a game than `off`."""

ENDINGS: Final[tuple[Ending, ...]] = ("stop", "length", "error", "cut", "refused")


_Placed = tuple[float, Replay]
"""A replay, and its place in the run, from 0 to 1."""


def replays(plan: Plan, source: Path | None, seed: int) -> tuple[str, list[Replay]]:
    """The name of the known answers' source, and everything to record, in its order.

    The order is random, but all answers are given once before one is given again, and so on with topics and
    models. How busy the machine was at some time then says nothing of what was given.
    """
    chance = random.Random(seed)
    name, known = known_answers(plan.answers, round(USUAL.rate * plan.longest * 0.8), source, chance)
    placed = [*_known(known, plan, chance), *_about_topics(plan, chance), *_by_models(plan, chance)]
    placed += [(chance.random(), replay) for replay in _counted(known, plan)]
    return name, [replay for _, replay in sorted(placed, key=itemgetter(0))]


def of_game(game: str) -> Callable[[Any], bool]:
    """Whether a label belongs to a game."""
    return lambda label: isinstance(label, dict) and label.get("game") == game


def is_extra(label: Any) -> bool:
    """Whether a label is of an exchange that is not recorded in every shape."""
    return isinstance(label, dict) and "only" in label


def recorded_in(shape: str, made: Sequence[Replay]) -> list[int]:
    """The places of the replays that are recorded in a shape, in the order of their exchanges.

    The control is recorded in a random order. On a busy machine an attack wins it only if it was trained with
    exchanges from all times.
    """
    places = [
        place
        for place, replay in enumerate(made)
        if not is_extra(replay.label) or shape in replay.label["only"]
    ]
    return random.Random(len(made)).sample(places, len(places)) if shape == "off" else places


def _known(known: list[str], plan: Plan, chance: random.Random) -> list[_Placed]:
    return [
        _placed(
            (draw, plan.strict_draws, plan.draws, _STRICT),
            text,
            USUAL,
            chance,
            plan,
            {"game": "identify", "answer": number},
        )
        for number, text in enumerate(known)
        for draw in range(plan.strict_draws)
    ]


def _about_topics(plan: Plan, chance: random.Random) -> list[_Placed]:
    texts = topic_texts(plan.shaped_prompts, round(USUAL.rate * plan.longest * 0.8), chance)
    return [
        _placed(
            (int(text.prompt.rpartition("/")[2]), plan.shaped_prompts, plan.prompts, _SHAPED),
            text.words,
            USUAL,
            chance,
            plan,
            {"game": "topic", "topic": text.topic, "prompt": text.prompt},
        )
        for text in texts
    ]


def _by_models(plan: Plan, chance: random.Random) -> list[_Placed]:
    count = plan.strict_model_texts
    said = chance.sample([text.words for text in topic_texts(count // 20 + 1, 400, chance)], count)
    return [
        _placed(
            (place, count, plan.model_texts, _STRICT),
            text,
            rhythm,
            chance,
            plan,
            {"game": "model", "model": number, "prompt": place},
        )
        for number, rhythm in enumerate(MODELS)
        for place, text in enumerate(said)
    ]


def _placed(
    turn: tuple[int, int, int, list[str]],
    text: str,
    rhythm: Rhythm,
    chance: random.Random,
    plan: Plan,
    label: dict[str, Any],
) -> _Placed:
    """`turn`: its number, of how many, how many of them every shape records, and which record the others."""
    number, count, usual, shapes = turn
    extra = {"only": shapes} if number % (count // usual) else {}
    return (number + chance.random()) / count, _said(text, rhythm, chance, plan, label | extra)


def _counted(known: list[str], plan: Plan) -> list[Replay]:
    """Answers at a steady rate, whose bytes are compared; and short ones of every ending."""
    made, words = [], " ".join(known).split()
    for rate in RATES:
        for length in LENGTHS:
            if length / rate > plan.longest:
                continue
            label = {"game": "bytes", "rate": rate, "tokens": length}
            made.append(Replay(label, " ".join(words[:length]), (1_000 / rate,) * length))
    for ending in ENDINGS:
        label = {"game": "ending", "ending": ending}
        made.append(Replay(label, " ".join(words[:60]), (25.0,) * 60, ending))
    return made


def _said(text: str, rhythm: Rhythm, chance: random.Random, plan: Plan, label: dict[str, Any]) -> Replay:
    """A text in a rhythm, as many pieces of it as fit into the plan's longest answer."""
    gaps, said = rhythm.gaps(len(pieces(text)), chance), pieces(text)
    time, count = 0.0, 0
    while count < len(gaps) and (time := time + gaps[count]) < 1_000 * plan.longest:
        count += 1
    return Replay(label, "".join(said[:count]), tuple(gaps[:count]))
