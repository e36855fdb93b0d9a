"""anthropic, unmodified, with all models of the bridge at one address."""

from __future__ import annotations

import pytest

from .conftest import Way
from .test_anthropic import (
    client,
    test_error_of_the_provider_arrives_whole_and_a_cut_is_one,
    test_messages,
    test_messages_asynchronous,
    test_the_tool_runner,
    test_tools_structured_output_and_models,
)

__all__ = [
    "client",
    "test_error_of_the_provider_arrives_whole_and_a_cut_is_one",
    "test_messages",
    "test_messages_asynchronous",
    "test_the_tool_runner",
    "test_tools_structured_output_and_models",
]


@pytest.fixture
def way(models_way: Way) -> Way:
    """In place of the one to Anthropic's own address."""
    return models_way
