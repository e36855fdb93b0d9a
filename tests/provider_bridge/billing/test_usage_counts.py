"""Usage reports as each API gives them, in shapes recorded from the providers' own types."""

from __future__ import annotations

from typing import Any

import pytest

from blindrelay.provider_bridge.billing.usage_counts import counts_of
from blindrelay.v1.receipts_pb2 import Measure

REPORTS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "chat": (
        {
            "prompt_tokens": 2_006,
            "completion_tokens": 300,
            "total_tokens": 2_306,
            "prompt_tokens_details": {"cached_tokens": 1_920, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 192,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 12,
            },
        },
        {"input": 86, "cache_read": 1_920, "output": 300},
    ),
    "chat with audio": (
        {
            "prompt_tokens": 75,
            "completion_tokens": 51,
            "prompt_tokens_details": {"audio_tokens": 55, "text_tokens": 20, "cached_tokens": 0},
            "completion_tokens_details": {"audio_tokens": 37, "text_tokens": 14},
        },
        {"input": 20, "audio_input": 55, "output": 14, "audio_output": 37},
    ),
    "chat, cache written": (
        {"prompt_tokens": 100, "completion_tokens": 1, "prompt_tokens_details": {"cache_write_tokens": 60}},
        {"input": 40, "cache_write": 60, "output": 1},
    ),
    "chat, DeepSeek": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 9,
            "prompt_cache_hit_tokens": 64,
            "prompt_cache_miss_tokens": 36,
        },
        {"input": 36, "cache_read": 64, "output": 9},
    ),
    "chat, Mistral with audio": (
        {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "prompt_audio_seconds": 3},
        {"input": 10, "output": 5, "millisecond": 3_000},
    ),
    "responses": (
        {
            "input_tokens": 1_000,
            "input_tokens_details": {
                "cached_tokens": 200,
                "cache_write_tokens": 300,
                "cache_write_tokens_details": {"ttl_30m_tokens": 100, "ttl_12h_tokens": 200},
            },
            "output_tokens": 70,
            "output_tokens_details": {"reasoning_tokens": 64},
            "total_tokens": 1_070,
        },
        {"input": 500, "cache_read": 200, "cache_write": 100, "cache_write_long": 200, "output": 70},
    ),
    "messages": (
        {
            "input_tokens": 21,
            "cache_creation_input_tokens": 500,
            "cache_read_input_tokens": 188,
            "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 400},
            "output_tokens": 393,
            "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 5},
            "service_tier": "standard",
        },
        {
            "input": 21,
            "cache_read": 188,
            "cache_write": 100,
            "cache_write_long": 400,
            "output": 393,
            "tool_call": 2,
        },
    ),
    "messages, compacted": (
        {
            "input_tokens": 10,
            "output_tokens": 20,
            "cache_read_input_tokens": 0,
            "iterations": [
                {
                    "type": "compaction",
                    "input_tokens": 1_000,
                    "output_tokens": 50,
                    "cache_read_input_tokens": 7,
                },
                {"type": "message", "input_tokens": 10, "output_tokens": 20},
            ],
        },
        {"input": 1_010, "cache_read": 7, "output": 70},
    ),
    "messages without a cache": ({"input_tokens": 10, "output_tokens": 20}, {"input": 10, "output": 20}),
    "gemini": (
        {
            "promptTokenCount": 300,
            "cachedContentTokenCount": 100,
            "candidatesTokenCount": 40,
            "thoughtsTokenCount": 60,
            "toolUsePromptTokenCount": 11,
            "totalTokenCount": 411,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 250},
                {"modality": "AUDIO", "tokenCount": 50},
            ],
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 20}],
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 30}],
        },
        {"input": 181, "cache_read": 100, "audio_input": 30, "output": 70, "image_output": 30},
    ),
    "gemini, live": (
        {"promptTokenCount": 9, "responseTokenCount": 4, "totalTokenCount": 13},
        {"input": 9, "output": 4},
    ),
    "embeddings": ({"prompt_tokens": 8, "total_tokens": 8}, {"input": 8}),
    "embeddings, Cohere": ({"billed_units": {"input_tokens": 12}, "api_version": {}}, {"input": 12}),
    "rerank, Cohere": ({"billed_units": {"search_units": 1}}, {"tool_call": 1}),
    "chat, Cohere": (
        {"billed_units": {"input_tokens": 5, "output_tokens": 6}, "tokens": {"input_tokens": 500}},
        {"input": 5, "output": 6},
    ),
    "transcription by tokens": (
        {
            "type": "tokens",
            "input_tokens": 14,
            "output_tokens": 45,
            "total_tokens": 59,
            "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
        },
        {"audio_input": 14, "output": 45},
    ),
    "transcription by seconds": ({"type": "duration", "seconds": 8.5}, {"millisecond": 8_500}),
    "images": (
        {
            "input_tokens": 50,
            "output_tokens": 4_160,
            "total_tokens": 4_210,
            "input_tokens_details": {"image_tokens": 40, "text_tokens": 10},
            "output_tokens_details": {"image_tokens": 4_160, "text_tokens": 0},
        },
        {"input": 10, "image_input": 40, "image_output": 4_160},
    ),
    "realtime": (
        {
            "total_tokens": 253,
            "input_tokens": 132,
            "output_tokens": 121,
            "input_token_details": {
                "text_tokens": 119,
                "audio_tokens": 13,
                "cached_tokens": 64,
                "cached_tokens_details": {"text_tokens": 60, "audio_tokens": 4},
            },
            "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
        },
        {"input": 59, "cache_read": 64, "audio_input": 9, "output": 30, "audio_output": 91},
    ),
    "bedrock": (
        {"inputTokens": 30, "outputTokens": 628, "totalTokens": 658, "cacheReadInputTokens": 5},
        {"input": 30, "cache_read": 5, "output": 628},
    ),
    "ollama": ({"prompt_eval_count": 26, "eval_count": 298}, {"input": 26, "output": 298}),
    "nonsense": (
        {"prompt_tokens": "many", "completion_tokens": -5, "prompt_tokens_details": [1], "n": True},
        {},
    ),
    "beyond all bounds": ({"prompt_tokens": 1 << 60, "completion_tokens": float("inf")}, {}),
}


@pytest.mark.parametrize("name", REPORTS)
def test_each_token_is_in_one_measure(name: str) -> None:
    report, counts = REPORTS[name]
    found = {Measure.Name(each).removeprefix("MEASURE_").lower(): n for each, n in counts_of(report).items()}
    assert found == counts
