"""What a provider's usage report counts, as measures (spec/protocol.md, annex E.3).

Providers name and nest the same counts differently. Some include cached tokens in the input, others list them
beside it. Here each token is in one measure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from blindrelay.trust.statements import MAX_AMOUNT
from blindrelay.v1.receipts_pb2 import (
    MEASURE_AUDIO_INPUT,
    MEASURE_AUDIO_OUTPUT,
    MEASURE_CACHE_READ,
    MEASURE_CACHE_WRITE,
    MEASURE_CACHE_WRITE_LONG,
    MEASURE_IMAGE_INPUT,
    MEASURE_IMAGE_OUTPUT,
    MEASURE_INPUT,
    MEASURE_MILLISECOND,
    MEASURE_OUTPUT,
    MEASURE_TOOL_CALL,
    Measure,
)

Counts = Counter[Measure.ValueType]
Report = Mapping[str, Any]


def counts_of(report: Report) -> Counts:
    """The counts in a usage report, whatever API it is from. What is not a number counts as 0."""
    if "billed_units" in report:
        return _cohere(_object(report, "billed_units"))
    if "promptTokenCount" in report or "totalTokenCount" in report:
        return _gemini(report)
    if "inputTokens" in report:
        return _bedrock(report)
    if "prompt_eval_count" in report or "eval_count" in report:
        return _kept(
            {MEASURE_INPUT: _n(report, "prompt_eval_count"), MEASURE_OUTPUT: _n(report, "eval_count")}
        )
    if "cache_read_input_tokens" in report or "cache_creation_input_tokens" in report:
        return _anthropic(report)
    return _openai(report)


def _openai(report: Report) -> Counts:
    """Chat, Responses, embeddings, images, audio and Realtime: the details are parts of the totals."""
    prompt = _n(report, "prompt_tokens", "input_tokens")
    completion = _n(report, "completion_tokens", "output_tokens")
    read = _either(report, "prompt_tokens_details", "input_tokens_details", "input_token_details")
    written = _either(report, "completion_tokens_details", "output_tokens_details", "output_token_details")
    cached = _n(read, "cached_tokens") or _n(report, "prompt_cache_hit_tokens")
    cached_parts = _object(read, "cached_tokens_details")
    audio = max(0, _n(read, "audio_tokens") - _n(cached_parts, "audio_tokens"))
    image = max(0, _n(read, "image_tokens") - _n(cached_parts, "image_tokens"))
    stored, stored_long = _openai_cache_writes(read)
    audio_out, image_out = _n(written, "audio_tokens"), _n(written, "image_tokens")
    seconds = _seconds(report, "seconds", "prompt_audio_seconds", "duration")
    return _kept(
        {
            MEASURE_INPUT: prompt - cached - audio - image - stored - stored_long,
            MEASURE_CACHE_READ: cached,
            MEASURE_CACHE_WRITE: stored,
            MEASURE_CACHE_WRITE_LONG: stored_long,
            MEASURE_OUTPUT: completion - audio_out - image_out,
            MEASURE_AUDIO_INPUT: audio,
            MEASURE_AUDIO_OUTPUT: audio_out,
            MEASURE_IMAGE_INPUT: image,
            MEASURE_IMAGE_OUTPUT: image_out,
            MEASURE_MILLISECOND: seconds,
        }
    )


def _openai_cache_writes(read: Report) -> tuple[int, int]:
    long = _n(_object(read, "cache_write_tokens_details"), "ttl_12h_tokens")
    return max(0, _n(read, "cache_write_tokens") - long), long


def _anthropic(report: Report) -> Counts:
    """Cached tokens are not part of the input. Iterations of compaction are in no total."""
    stored = _n(report, "cache_creation_input_tokens")
    long = _n(_object(report, "cache_creation"), "ephemeral_1h_input_tokens")
    tools = _n(_object(report, "server_tool_use"), "web_search_requests")
    counts = _kept(
        {
            MEASURE_INPUT: _n(report, "input_tokens"),
            MEASURE_CACHE_READ: _n(report, "cache_read_input_tokens"),
            MEASURE_CACHE_WRITE: stored - long,
            MEASURE_CACHE_WRITE_LONG: long,
            MEASURE_OUTPUT: _n(report, "output_tokens"),
            MEASURE_TOOL_CALL: tools,
        }
    )
    iterations = report.get("iterations")
    for each in iterations if isinstance(iterations, list) else []:
        if isinstance(each, dict) and each.get("type") == "compaction":
            counts += _anthropic({**each, "iterations": None})
    return counts


def _gemini(report: Report) -> Counts:
    read, cached = _modalities(report, "promptTokensDetails"), _modalities(report, "cacheTokensDetails")
    written = _modalities(report, "candidatesTokensDetails", "responseTokensDetails")
    in_cache = _n(report, "cachedContentTokenCount")
    audio, image = (max(0, read[kind] - cached[kind]) for kind in ("AUDIO", "IMAGE"))
    prompt = _n(report, "promptTokenCount") + _n(report, "toolUsePromptTokenCount")
    output = _n(report, "candidatesTokenCount", "responseTokenCount") + _n(report, "thoughtsTokenCount")
    return _kept(
        {
            MEASURE_INPUT: prompt - in_cache - audio - image,
            MEASURE_CACHE_READ: in_cache,
            MEASURE_OUTPUT: output - written["AUDIO"] - written["IMAGE"],
            MEASURE_AUDIO_INPUT: audio,
            MEASURE_AUDIO_OUTPUT: written["AUDIO"],
            MEASURE_IMAGE_INPUT: image,
            MEASURE_IMAGE_OUTPUT: written["IMAGE"],
        }
    )


def _bedrock(report: Report) -> Counts:
    return _kept(
        {
            MEASURE_INPUT: _n(report, "inputTokens"),
            MEASURE_CACHE_READ: _n(report, "cacheReadInputTokens"),
            MEASURE_CACHE_WRITE: _n(report, "cacheWriteInputTokens"),
            MEASURE_OUTPUT: _n(report, "outputTokens"),
        }
    )


def _cohere(billed: Report) -> Counts:
    return _kept(
        {
            MEASURE_INPUT: _n(billed, "input_tokens"),
            MEASURE_OUTPUT: _n(billed, "output_tokens"),
            MEASURE_IMAGE_INPUT: _n(billed, "image_tokens"),
            MEASURE_TOOL_CALL: _n(billed, "search_units") + _n(billed, "classifications"),
        }
    )


def _modalities(report: Report, *names: str) -> Counter[str]:
    counted: Counter[str] = Counter()
    details: list[Any] = next((report[name] for name in names if isinstance(report.get(name), list)), [])
    for each in details:
        if isinstance(each, dict):
            counted[str(each.get("modality"))] += _n(each, "tokenCount")
    return counted


def _kept(amounts: Mapping[Measure.ValueType, int]) -> Counts:
    return Counter({measure: amount for measure, amount in amounts.items() if amount > 0})


def _object(report: Report, name: str) -> Report:
    value = report.get(name)
    return value if isinstance(value, dict) else {}


def _either(report: Report, *names: str) -> Report:
    return next((found for name in names if (found := _object(report, name))), {})


def _n(report: Report, *names: str) -> int:
    """The first of these numbers that the report has within bounds, or 0."""
    for name in names:
        value = report.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_AMOUNT:
            return math.ceil(value)
    return 0


def _seconds(report: Report, *names: str) -> int:
    """Milliseconds."""
    for name in names:
        value = report.get(name)
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and 0 <= value <= MAX_AMOUNT / 1_000
        ):
            return math.ceil(value * 1_000)
    return 0
