"""Texts to answer with: of an installed data set, of a file or folder, or generated from a seed."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TOPICS: Final = 10
SPREAD: Final = 0.05
"""How much longer the answers on one topic are than those on the one before: 1.05 times.

A generated text says nothing of how real topics differ. In real answers to mixed questions the length alone
hardly told the topic.
"""

_LETTERS: Final = "etaoinshrdlcumwfgypbvk"
_WORDS_OF_A_TOPIC: Final = 400
_COMMON: Final = ["the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "with", "on", "be", "are"]


@dataclass(frozen=True)
class Text:
    """A text that can be said.

    Attributes:
        words: the text.
        prompt: names the question that it answers.
        topic: what it is about.
    """

    words: str
    prompt: str
    topic: int


def known_answers(
    count: int, longest: int, source: Path | None, chance: random.Random
) -> tuple[str, list[str]]:
    """The name of the source, and so many different texts of at most `longest` words."""
    if source is not None:
        name, texts = str(source), _of_files(source)
    elif importlib.util.find_spec("chitchat_dataset"):
        name, texts = "chitchat-dataset", _of_chitchat()
    else:
        name, texts = "generated texts", (text.words for text in topic_texts(count, longest, chance))
    fitting = sorted({" ".join(text.split()[:longest]) for text in texts if len(text.split()) >= 30})
    if len(fitting) < count:
        raise ValueError(f"{name}: only {len(fitting)} texts have 30 words or more, and {count} are needed")
    return name, chance.sample(fitting, count)


def topic_texts(prompts: int, longest: int, chance: random.Random) -> list[Text]:
    """Two answers to each of so many prompts, over all topics. The words of a topic are its own."""
    made = []
    for topic in range(TOPICS):
        vocabulary = _vocabulary(topic, chance)
        for number in range(prompts):
            median = 150 * (1 + SPREAD) ** topic * chance.lognormvariate(0, 0.5)
            for _ in range(2):
                count = max(10, min(longest, round(median * chance.lognormvariate(0, 0.2))))
                made.append(Text(_said(vocabulary, count, chance), f"{topic}/{number}", topic))
    return made


def _vocabulary(topic: int, chance: random.Random) -> list[str]:
    """Longer words, topic by topic."""
    length = 3 + topic * 0.7
    return [
        "".join(chance.choices(_LETTERS, k=max(2, round(chance.gauss(length, 1.5)))))
        for _ in range(_WORDS_OF_A_TOPIC)
    ]


def _said(vocabulary: list[str], count: int, chance: random.Random) -> str:
    words = [chance.choice(_COMMON if chance.random() < 0.35 else vocabulary) for _ in range(count)]
    return " ".join(words)


def _of_files(source: Path) -> Iterator[str]:
    """Each file is one text; of a single file, each line is."""
    if source.is_dir():
        yield from (
            path.read_text("utf-8", "replace") for path in sorted(source.rglob("*")) if path.is_file()
        )
    else:
        yield from source.read_text("utf-8", "replace").splitlines()


def _of_chitchat() -> Iterator[str]:
    from chitchat_dataset import Dataset

    for conversation in Dataset().values():
        yield " ".join(message["text"] for turn in conversation["messages"] for message in turn)
