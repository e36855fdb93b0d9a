"""Conversations in tunnels: who says what, and when, in the events of a realtime API."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.leakage.corpus import topic_texts

SECONDS: Final = 6.0
"""How long each tunnel is open. Nothing hides that, so it tells nothing here."""

_QUIET_AT_THE_END: Final = 0.5
_ROOM: Final = 0.85
"""Of the time, what turns may fill as they are written; jitter may make them longer."""


@dataclass(frozen=True)
class Turn:
    """One question and its answer.

    Attributes:
        asked, answered: words.
        before: seconds of silence before the question.
        thought: seconds between question and answer.
        rate: words of the answer a second.
    """

    asked: Sequence[str]
    answered: Sequence[str]
    before: float
    thought: float
    rate: float


@dataclass(frozen=True)
class Said:
    """A message: seconds since the tunnel opened, whether the client says it, and its text."""

    at: float
    by_client: bool
    text: str


def conversations(count: int, seed: int) -> list[list[Turn]]:
    """So many different conversations."""
    chance = random.Random(f"conversations {seed}")
    words = [word for text in topic_texts(2, 200, chance) for word in text.words.split()]
    return [_conversation(words, chance) for _ in range(count)]


def held(turns: Sequence[Turn], chance: random.Random) -> list[Said]:
    """What is said this time: pauses and gaps differ a little from those of any other time."""
    at, said = 0.0, []
    for turn in turns:
        at += turn.before * _jitter(chance)
        said.append(Said(at, True, _question(" ".join(turn.asked))))
        at += turn.thought * _jitter(chance)
        for word in turn.answered:
            said.append(Said(at, False, _delta(word)))
            at += _jitter(chance) / turn.rate
    return [message for message in said if message.at < SECONDS - _QUIET_AT_THE_END]


def _conversation(words: Sequence[str], chance: random.Random) -> list[Turn]:
    turns: list[Turn] = []
    filled = 0.0
    while filled < _ROOM * (SECONDS - _QUIET_AT_THE_END):
        turn = Turn(
            asked=chance.choices(words, k=chance.randint(3, 25)),
            answered=chance.choices(words, k=chance.randint(3, 30)),
            before=chance.uniform(0.1, 1.5),
            thought=chance.uniform(0.2, 0.8),
            rate=chance.uniform(12, 30),
        )
        turns.append(turn)
        filled += turn.before + turn.thought + len(turn.answered) / turn.rate
    return turns


def _jitter(chance: random.Random) -> float:
    return chance.lognormvariate(0, 0.2)


def _question(text: str) -> str:
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    return _event({"type": "conversation.item.create", "item": item})


def _delta(word: str) -> str:
    return _event(
        {
            "type": "response.output_text.delta",
            "event_id": "event_BJUvmvyN7lVwYFUyYg3nW",
            "response_id": "resp_BJUvmQ1ggYyd5nZ2tRZKk",
            "item_id": "item_BJUvmMNxDsLqvyR2UFvPm",
            "output_index": 0,
            "content_index": 0,
            "delta": f" {word}",
        }
    )


def _event(event: dict[str, Any]) -> str:
    return json.dumps(event, separators=(",", ":"))
