"""What a relay sees of a shaped response depends on nothing but a class: how many cells, and when they grow.

The bridge's real exchange runs in virtual time, so sizes and times are compared exactly.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from blindrelay.sealing import BALANCED, STRICT, CellShape
from blindrelay.v1.inner_pb2 import SHAPING_PROFILE_BALANCED, SHAPING_PROFILE_OFF, SHAPING_PROFILE_STRICT
from tests.leakage.answers import WORDS, at_once, body_of, event, spoken
from tests.leakage.exchanges import KEPT, WHOLE, Answer, Seen, exchange_of
from tests.leakage.virtual_time import in_virtual_time

PROFILES = {"balanced": (SHAPING_PROFILE_BALANCED, BALANCED), "strict": (SHAPING_PROFILE_STRICT, STRICT)}
FRAMING = 3
"""Bytes of protobuf around a sealed record."""

ERROR = b'{"error":{"message":"overloaded"}}'
SHORT: dict[str, tuple[Answer, dict[str, Any]]] = {
    "one word": (spoken(1, 20), {}),
    "slow": (spoken(14, 4), {}),
    "fast": (spoken(450, 120), {}),
    "very fast": (spoken(300, 250), {}),
    "another text": (spoken(450, 120, seed=2), {}),
    "length stop": (spoken(450, 120, reason="length"), {}),
    "a burst that fits into the first cells": (at_once(2_500), {}),
    "a smaller burst": (at_once(1_500, seed=3), {}),
    "silence before the first word": (Answer(spoken(3, 20).pieces, head_at=3.5), {}),
    "provider error": (Answer([(0.3, ERROR)], head_at=0.3, status=500, content_type=b"application/json"), {}),
    "long provider error": (Answer([(0.3, ERROR * 40)], head_at=0.3, status=429), {}),
    "provider unreachable": (Answer(head_at=0.7, failure=True), {}),
    "provider unreachable at a tick": (Answer(head_at=2.0, failure=True), {}),
    "provider cuts": (Answer(spoken(100, 50).pieces[:60], cut=True), {}),
    "refusal of the URL": (spoken(1, 1), {"url": "https://api.example.com/v1/chat/completions"}),
    "refusal of the body": (spoken(1, 1), {"body": KEPT}),
}
"""Answers that are complete within the smallest number of cells, in both profiles."""


def seen(answer: Answer, profile: str, **request: Any) -> Seen:
    made: Seen = in_virtual_time(exchange_of(answer, profile=PROFILES[profile][0], **request))
    return made


def expected(shape: CellShape, cells: int, sizes: list[int] | None = None) -> list[tuple[int, int]]:
    """A cell at each tick. `sizes`: of each run of cells; the last one goes on."""
    sizes = sizes or [0]
    runs = [min(number // shape.run, len(sizes) - 1) for number in range(cells)]
    return [(shape.tick * (number + 1), shape.sizes[sizes[run]] + FRAMING) for number, run in enumerate(runs)]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", SHORT)
def test_short_responses_of_all_kinds_look_alike(kind: str, profile: str) -> None:
    answer, request = SHORT[kind]
    shape = PROFILES[profile][1]
    assert seen(answer, profile, **request).shape == expected(shape, shape.first_count)


@pytest.mark.parametrize(
    ("profile", "seconds", "cells"),
    [
        ("balanced", 5, 120),
        ("balanced", 12, 120),
        ("balanced", 14, 240),
        ("balanced", 40, 480),
        ("strict", 40, 176),
    ],
)
@pytest.mark.parametrize("rate", [30, 100])
def test_longer_responses_show_a_bucket(profile: str, seconds: int, cells: int, rate: int) -> None:
    answer = spoken(seconds * rate - 10, rate)
    made = seen(answer, profile)
    assert made.shape == expected(PROFILES[profile][1], cells)
    assert made.body == body_of(answer)


@pytest.mark.parametrize("size", [9_000, 20_000, 60_000])
def test_a_large_burst_shows_a_bucket(size: int) -> None:
    made = seen(at_once(size), "balanced")
    assert made.shape == expected(BALANCED, BALANCED.first_count, [0, 1])
    assert made.body == body_of(at_once(size))


def test_when_a_burst_comes_within_a_run_does_not_show() -> None:
    shapes = [seen(at_once(20_000, after=0.91 + number / 10), "balanced").shape for number in range(6)]
    assert shapes == [expected(BALANCED, BALANCED.first_count, [0, 0, 1])] * 6


@pytest.mark.parametrize("since", [0.0, 0.5])
@pytest.mark.parametrize("profile", PROFILES)
def test_cells_of_several_exchanges_leave_together(profile: str, since: float) -> None:
    """They began at some time since a point of the bridge's own clock, in ticks."""
    shape = PROFILES[profile][1]

    async def begun(after: float) -> Seen:
        await asyncio.sleep(after * shape.tick / 1_000)
        made: Seen = await exchange_of(spoken(14, 4), profile=PROFILES[profile][0])
        return made

    async def together() -> list[Seen]:
        return await asyncio.gather(*(begun(since + part) for part in (0.05, 0.25, 0.45)))

    shapes = [made.shape for made in in_virtual_time(together())]
    ticks = [(at + round(since * shape.tick), size) for at, size in expected(shape, shape.first_count)]
    assert shapes == [ticks] * 3


@pytest.mark.parametrize("profile", PROFILES)
def test_bodies_that_are_not_streamed_leave_on_a_grid(profile: str) -> None:
    grid = PROFILES[profile][1].grid
    said = [Answer([(at, b"{}" * 20)], at, content_type=b"application/json") for at in (0.02, 0.3, 0.7)]
    made = [seen(answer, profile, body=WHOLE).shape for answer in said]
    assert all(at % grid == 0 for records in made for at, _ in records)
    assert len({size for records in made for _, size in records}) == 1


@pytest.mark.parametrize("profile", PROFILES)
def test_number_of_cells_does_not_depend_on_a_guess(profile: str) -> None:
    """An attacker writes a guess next to a secret that the provider repeats. Only compression can tell."""
    secret = "token=7f3a9c51"
    guesses = [f"token={first}{second}" for first in "0123456789abcdef" for second in "7f"]
    answers = [_echo(secret, guess) for guess in guesses]
    assert len({tuple(seen(answer, profile).shape) for answer in answers}) == 1


def test_an_unshaped_response_shows_what_the_gate_looks_for() -> None:
    """The control: without cells, sizes and times differ."""
    made = [in_virtual_time(exchange_of(answer, profile=SHAPING_PROFILE_OFF)) for answer, _ in SHORT.values()]
    assert len({tuple(each.shape) for each in made}) > 10


def _echo(secret: str, guess: str) -> Answer:
    words = [secret, *WORDS[:5], *[guess] * 8, *WORDS[5:]]
    return Answer([(number / 20, event(" " + word)) for number, word in enumerate(words, 1)])
