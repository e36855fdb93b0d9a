"""Answers of a provider, as events: words at a rate, bursts, and ends of different kinds."""

from __future__ import annotations

import json
import random

from tests.leakage.exchanges import Answer

WORDS = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett"]


def event(text: str, reason: str | None = None) -> bytes:
    """One event of a streamed chat."""
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": reason}
    skeleton = {"id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG", "object": "chat.completion.chunk"}
    more = {"created": 1_741_570_283, "model": "gpt-4o-2024-08-06", "choices": [choice]}
    return b"data: " + json.dumps(skeleton | more).encode() + b"\n\n"


def spoken(count: int, rate: float, seed: int = 1, reason: str = "stop") -> Answer:
    """So many words, so many a second."""
    chance = random.Random(seed)
    words = [(number / rate, event(" " + chance.choice(WORDS))) for number in range(1, count + 1)]
    end = (count + 1) / rate
    return Answer([*words, (end, event("", reason)), (end, b"data: [DONE]\n\n")], head_at=1 / rate)


def at_once(size: int, after: float = 0.05, seed: int = 1) -> Answer:
    """So many bytes that cannot be compressed by much, in one burst."""
    text = random.Random(seed).randbytes(size // 2).hex()
    return Answer([(after, event(text)), (after, b"data: [DONE]\n\n")])


def body_of(answer: Answer) -> bytes:
    """All that the provider sends."""
    return b"".join(piece for _, piece in answer.pieces)
