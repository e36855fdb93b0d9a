"""openai and anthropic before llama.cpp, by the one address with all models of the bridge."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blindrelay.testbed import Testbed

from .conftest import WAYS, Endpoints, Way, way_of
from .test_llama import (
    test_a_model_answers_and_counts,
    test_a_model_counts_asynchronously,
    test_chat,
    test_providers_token_counts_arrive,
)

__all__ = [
    "test_a_model_answers_and_counts",
    "test_a_model_counts_asynchronously",
    "test_chat",
    "test_providers_token_counts_arrive",
]


@pytest.fixture(params=WAYS)
def model_way(request: pytest.FixtureRequest, model_bed: Testbed, endpoint_of: Endpoints) -> Iterator[Way]:
    """In place of the one to the providers' own addresses."""
    yield from way_of(model_bed.relay, request.param, endpoint_of, models=True)
