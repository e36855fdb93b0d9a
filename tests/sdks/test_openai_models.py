"""openai, unmodified, with all models of the bridge at one address: what works at OpenAI's own works here."""

from __future__ import annotations

import pytest

from .conftest import Way
from .test_openai import (
    client,
    test_429_of_the_provider_arrives_whole,
    test_a_tool_is_called_and_its_result_understood,
    test_chat,
    test_chat_asynchronous,
    test_embeddings_and_audio_asynchronous,
    test_key_and_sdk_are_not_sent_to_the_provider,
    test_other_calls,
    test_responses,
    test_responses_asynchronous,
)

__all__ = [
    "client",
    "test_429_of_the_provider_arrives_whole",
    "test_a_tool_is_called_and_its_result_understood",
    "test_chat",
    "test_chat_asynchronous",
    "test_embeddings_and_audio_asynchronous",
    "test_key_and_sdk_are_not_sent_to_the_provider",
    "test_other_calls",
    "test_responses",
    "test_responses_asynchronous",
]


@pytest.fixture
def way(models_way: Way) -> Way:
    """In place of the one to OpenAI's own address."""
    return models_way
