"""At the address of all models, neither sizes nor times tell a relay which model was asked, or how often.

What happens inside the bridge, such as a second attempt, is before the response's clock or between its ticks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from blindrelay.v1.inner_pb2 import EXECUTION_NOT_STARTED
from tests.leakage.answers import spoken
from tests.leakage.exchanges import KEPT, MODELS, STREAMED, WHOLE, Answer, Seen, exchange_of
from tests.leakage.test_shapes import ERROR, PROFILES, expected
from tests.leakage.virtual_time import in_virtual_time

JSON = b"application/json"
BUSY = Answer([(1.3, ERROR)], head_at=1.3, status=429, content_type=JSON)
GONE = Answer(head_at=0.9, failure=True, execution=EXECUTION_NOT_STARTED)

SMALLEST = {"balanced": 4_099, "strict": 16_388}
"""Bytes of the gRPC message with a short response that is not streamed."""

CALLS: dict[str, tuple[str, list[Answer]]] = {
    "a model": ("m", [spoken(14, 4)]),
    "another model": ("another-model-with-a-longer-name", [spoken(450, 120)]),
    "the first of two targets": ("two-targets", [spoken(14, 4)]),
    "the second, after 429": ("two-targets", [BUSY, spoken(20, 20)]),
    "the second, after no connection": ("two-targets", [GONE, spoken(20, 20)]),
    "both are busy": ("two-targets", [BUSY, BUSY]),
    "both are gone": ("two-targets", [GONE, GONE]),
    "a model that is not in the table": ("nobody", []),
}


def seen(call: str, profile: str, body: bytes, **changes: Any) -> Seen:
    """`changes` are attributes that all answers of the call get."""
    name, answers = CALLS[call]
    answers = [replace(answer, **changes) for answer in answers]
    asked = body.replace(b'"m"', b'"%b"' % name.encode())
    made = exchange_of(*answers, profile=PROFILES[profile][0], url=MODELS, body=asked)
    found: Seen = in_virtual_time(made)
    return found


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("call", CALLS)
def test_streamed_responses_look_alike(call: str, profile: str) -> None:
    shape = PROFILES[profile][1]
    assert seen(call, profile, STREAMED).shape == expected(shape, shape.first_count)


@pytest.mark.parametrize("profile", PROFILES)
def test_refusal_by_the_description_of_a_target_looks_alike(profile: str) -> None:
    made: Seen = in_virtual_time(exchange_of(profile=PROFILES[profile][0], url=MODELS, body=KEPT))
    shape = PROFILES[profile][1]
    assert made.shape == expected(shape, shape.first_count)
    assert "asks the provider to store" in made.error


@pytest.mark.parametrize("profile", PROFILES)
def test_other_responses_differ_by_nothing_but_a_step_of_the_grid(profile: str) -> None:
    grid = PROFILES[profile][1].grid
    at_once = {"content_type": JSON, "head_at": 1.4, "pieces": [(1.4, b"{}" * 20)]}
    made = [seen(call, profile, WHOLE, **at_once).shape for call in CALLS]
    assert all(at % grid == 0 for records in made for at, _ in records)
    assert {size for records in made for _, size in records} == {SMALLEST[profile]}


def test_calls_do_what_they_are_named_after() -> None:
    """The control: inside, they differ."""
    found = {call: seen(call, "balanced", STREAMED) for call in CALLS}
    statuses = [found[call].status for call in CALLS]
    assert statuses == [200, 200, 200, 200, 200, 429, 0, 404]
    assert "reached" in found["both are gone"].error
