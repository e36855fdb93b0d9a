"""At the aggregated address a relay sees neither which model was asked for, nor how many were tried."""

from __future__ import annotations

import pytest

from blindrelay.v1.inner_pb2 import SHAPING_PROFILE_BALANCED, SHAPING_PROFILE_OFF, SHAPING_PROFILE_STRICT
from tests.leakage.exchanges import KEPT, STREAMED, WHOLE, Answer, Seen, exchange_with_model
from tests.leakage.virtual_time import in_virtual_time

EVENT = b'data: {"choices":[{"delta":{"content":"Hello"}}]}\n\n'
QUICK = Answer(pieces=((0.0625, EVENT), (0.375, EVENT)))
LATE = Answer(pieces=((0.875, EVENT),), head_at=0.75)
BUSY = Answer(head_at=0.3125, status=429, content_type=b"application/json")
MISSING = STREAMED.replace(b'"m"', b'"n"')

SAME = {
    "one model": ({"first": QUICK}, STREAMED, 200),
    "another model": ({"second": LATE}, STREAMED, 200),
    "second target": ({"first": BUSY, "second": QUICK}, STREAMED, 200),
    "third target": ({"first": BUSY, "other": BUSY, "second": LATE}, STREAMED, 200),
    "nobody": ({"first": BUSY}, STREAMED, 429),
    "unknown model": ({"first": QUICK}, MISSING, 404),
    "refused by its description": ({"first": QUICK}, KEPT, 0),
}


def seen(answers: dict[str, Answer], body: bytes, profile: int) -> Seen:
    made: Seen = in_virtual_time(exchange_with_model(answers, profile, body))  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize("profile", [SHAPING_PROFILE_BALANCED, SHAPING_PROFILE_STRICT])
def test_models_and_attempts_look_the_same(profile: int) -> None:
    made = {name: seen(answers, body, profile) for name, (answers, body, _) in SAME.items()}
    assert {name: each.status for name, each in made.items()} == {
        name: status for name, (_, _, status) in SAME.items()
    }
    assert "asks the provider to store" in made["refused by its description"].error
    shapes = {tuple(each.shape) for each in made.values()}
    assert len(shapes) == 1, {name: each.shape[:3] for name, each in made.items()}


def test_without_a_shape_they_do_not() -> None:
    """The test above could tell them apart."""
    made = [seen(answers, body, SHAPING_PROFILE_OFF).shape for answers, body, _ in SAME.values()]
    assert len({tuple(shape) for shape in made}) > 3


def test_whole_responses_are_released_on_a_grid_from_acceptance() -> None:
    json = Answer(pieces=((0.0, b"{}"),), head_at=0.125, content_type=b"application/json")
    late = Answer(pieces=((0.0, b"{}"),), head_at=0.09375, content_type=b"application/json")
    busy = Answer(head_at=0.0625, status=429, content_type=b"application/json")
    one = seen({"first": json}, WHOLE, SHAPING_PROFILE_BALANCED)
    two = seen({"first": busy, "second": late}, WHOLE, SHAPING_PROFILE_BALANCED)
    assert one.shape == two.shape
    assert one.status == two.status == 200


@pytest.mark.parametrize(
    ("profile", "size"), [(SHAPING_PROFILE_BALANCED, 4_099), (SHAPING_PROFILE_STRICT, 16_388)]
)
def test_error_of_a_response_that_is_not_streamed_has_the_size_of_an_answer(profile: int, size: int) -> None:
    json = Answer(pieces=((0.0, b"{}"),), head_at=0.125, content_type=b"application/json")
    for answer, status in ((json, 200), (Answer(head_at=0.125, failure=True), 0)):
        made = seen({"first": answer}, WHOLE, profile)
        assert (made.status, [each for _, each in made.shape]) == (status, [size])
