"""Which calls run a model, and how what they produce can be counted (spec/protocol.md, annex E.3)."""

from __future__ import annotations

import re
from typing import Final

from blindrelay.provider_bridge.policy.request_policy import PlannedCall
from blindrelay.v1.receipts_pb2 import (
    MEASURE_AUDIO_INPUT,
    MEASURE_AUDIO_OUTPUT,
    MEASURE_CALL,
    MEASURE_CHARACTER,
    MEASURE_IMAGE_OUTPUT,
    MEASURE_MILLISECOND,
    Measure,
)

_RUN_NO_MODEL: Final = re.compile(
    r".*(?:/count_tokens|/input_tokens|:countTokens|/count-tokens|/tokenize|/detokenize|/tokenize-text"
    r"|/apply-template|/api/show)"
)
_TEXT: Final = re.compile(
    r".*(?:/completions|/complete|/responses|/responses/compact|/messages|/chat|/generate"
    r"|:(?:streamG|g)enerateContent|/converse|/converse-stream|/invoke|/invoke-with-response-stream"
    r"|/embeddings|/embed|:embedContent|:batchEmbedContents|/rerank|/realtime)"
)
"""Tokens can be estimated from the bytes of these, where the provider reports none."""

_READ_ONLY: Final = re.compile(r".*(?:/embeddings|/embed|:embedContent|:batchEmbedContents|/rerank)")

_PRICED_BY: Final[tuple[tuple[re.Pattern[str], frozenset[Measure.ValueType]], ...]] = (
    (re.compile(r".*/images/[a-z]+"), frozenset({MEASURE_CALL, MEASURE_IMAGE_OUTPUT})),
    (
        re.compile(r".*/audio/speech"),
        frozenset({MEASURE_CALL, MEASURE_CHARACTER, MEASURE_AUDIO_OUTPUT}),
    ),
    (
        re.compile(r".*/audio/(?:transcriptions|translations)"),
        frozenset({MEASURE_CALL, MEASURE_MILLISECOND, MEASURE_AUDIO_INPUT}),
    ),
    (re.compile(r".*"), frozenset({MEASURE_CALL})),
)
"""For all other calls, one of these measures must have a rate: their tokens cannot be estimated."""

_USAGE_ON_REQUEST: Final = re.compile(r".*/completions")


def runs_model(call: PlannedCall) -> bool:
    """Whether a call can cost anything."""
    if call.allowed.tunnel:
        return True
    return call.method == "POST" and _RUN_NO_MODEL.fullmatch(call.url.path) is None


def is_text(path: str) -> bool:
    """Whether what a call reads and writes is text, whose tokens can be estimated."""
    return _TEXT.fullmatch(path) is not None


def writes_text(path: str) -> bool:
    """Whether a call answers with text, as long as the request allows."""
    return is_text(path) and _READ_ONLY.fullmatch(path) is None


def priced_by(path: str) -> frozenset[Measure.ValueType]:
    """The measures of which a row must price one, for a path that is not of text."""
    return next(measures for pattern, measures in _PRICED_BY if pattern.fullmatch(path))


def reports_on_request(call: PlannedCall) -> bool:
    """Whether events of this call report usage only if stream_options asks for it.

    Such a call's description has the field, unless the provider does not know it.
    """
    if not call.injected or _USAGE_ON_REQUEST.fullmatch(call.url.path) is None:
        return False
    rule = call.provider.stateless.rule("bodies", call.url.path)
    return rule is not None and rule.shape is not None and "stream_options" in rule.shape.fields
