"""Every field, tool, item and part that the official SDKs can send is described: as stateless, or as stored.

When a new version of an SDK adds a field, this fails until somebody has read what the field does.
"""

from __future__ import annotations

import importlib
import re
from typing import Any, Literal, TypedDict

import pytest

from blindrelay.provider_bridge.stateless.description import api_description
from blindrelay.provider_bridge.stateless.rules import Rule

from .sdk_types import fields_of, gaps

OPENAI, MISTRAL, GENAI = "openai.types", "mistralai.client.models", "google.genai.types"
REQUESTS = [
    ("openai", "bodies", "chat/completions", f"{OPENAI}.chat.completion_create_params:*"),
    ("openai", "bodies", "completions", f"{OPENAI}.completion_create_params:*"),
    ("openai", "bodies", "responses", f"{OPENAI}.responses.response_create_params:*"),
    ("openai", "bodies", "responses/input_tokens", f"{OPENAI}.responses.input_token_count_params:*"),
    ("openai", "bodies", "embeddings", f"{OPENAI}.embedding_create_params:*"),
    ("openai", "bodies", "moderations", f"{OPENAI}.moderation_create_params:*"),
    ("openai", "bodies", "audio/speech", f"{OPENAI}.audio.speech_create_params:*"),
    ("openai", "bodies", "images/generations", f"{OPENAI}.image_generate_params:*"),
    ("openai", "forms", "audio/transcriptions", f"{OPENAI}.audio.transcription_create_params:*"),
    ("openai", "forms", "audio/translations", f"{OPENAI}.audio.translation_create_params:*"),
    ("openai", "forms", "images/edits", f"{OPENAI}.image_edit_params:*"),
    ("openai", "forms", "images/variations", f"{OPENAI}.image_create_variation_params:*"),
    ("openai", "messages", "responses", f"{OPENAI}.responses.responses_client_event_param:^ResponseCreate$"),
    ("openai", "messages", "responses", f"{OPENAI}.responses.response_steer_event_param:EventParam$"),
    ("openai", "messages", "realtime", f"{OPENAI}.realtime.realtime_client_event_param:EventParam$"),
    ("openai", "messages", "realtime", f"{OPENAI}.beta.realtime.session_update_event_param:EventParam$"),
    ("openai", "messages", "realtime", f"{OPENAI}.beta.realtime.transcription_session_update_param:Param$"),
    ("anthropic", "bodies", "messages", "anthropic.types.message_create_params:*"),
    ("anthropic", "bodies", "messages", "anthropic.types.beta.message_create_params:^MessageCreate"),
    ("anthropic", "bodies", "messages/count_tokens", "anthropic.types.message_count_tokens_params:*"),
    ("anthropic", "bodies", "messages/count_tokens", "anthropic.types.beta.message_count_tokens_params:*"),
    ("mistral", "bodies", "chat/completions", f"{MISTRAL}:^ChatCompletion(Stream)?Request$"),
    ("mistral", "bodies", "fim/completions", f"{MISTRAL}:^FIMCompletion(Stream)?Request$"),
    ("mistral", "bodies", "embeddings", f"{MISTRAL}:^EmbeddingRequest$"),
    ("mistral", "bodies", "moderations", f"{MISTRAL}:^ClassificationRequest$"),
    ("mistral", "bodies", "chat/moderations", f"{MISTRAL}:^ChatModerationRequest$"),
    ("mistral", "bodies", "chat/classifications", f"{MISTRAL}:^ChatClassificationRequest$"),
    ("mistral", "bodies", "ocr", f"{MISTRAL}:^OCRRequest$"),
    ("mistral", "bodies", "audio/speech", f"{MISTRAL}:^SpeechRequest$"),
    ("mistral", "forms", "audio/transcriptions", f"{MISTRAL}:^AudioTranscriptionRequest"),
    ("gemini", "shapes", "GeminiContent", f"{GENAI}:^ContentDict$"),
    ("gemini", "shapes", "GeminiTool", f"{GENAI}:^ToolDict$"),
    ("gemini", "shapes", "GeminiToolConfig", f"{GENAI}:^ToolConfigDict$"),
    ("gemini", "shapes", "GenerationConfig", f"{GENAI}:^GenerationConfigDict$"),
]

# Headers; what the SDK keeps for itself; responses of models that it does not know.
NOT_SENT = (".betas of", ".is_unknown of Unknown", " of type UNKNOWN")


def models(where: str) -> list[Any]:
    """The request types that a module has: MODULE:PATTERN, or all of its names that end in Params."""
    module_name, _, pattern = where.partition(":")
    module = importlib.import_module(module_name)
    pattern = r"Params(NonStreaming|Streaming)?$" if pattern == "*" else pattern
    return [getattr(module, name) for name in dir(module) if re.search(pattern, name)]


@pytest.mark.parametrize(("api", "kind", "path", "where"), REQUESTS)
def test_sdk_sends_nothing_that_is_not_described(api: str, kind: str, path: str, where: str) -> None:
    description = api_description(api)
    rule = Rule(shape=description.shapes[path]) if kind == "shapes" else description.paths(kind)[path]
    found = [gap for model in models(where) for gap in gaps(model, rule)]
    assert models(where)
    assert [gap for gap in found if not any(known in gap for known in NOT_SENT)] == []


def test_gemini_sdk_sends_no_setting_that_is_not_described() -> None:
    """The SDK has all settings in one type, and sends them at the top and as generationConfig."""
    kept_by_the_sdk = {"http_options", "should_return_http_response", "automatic_function_calling"}
    shapes = api_description("gemini").shapes
    described = shapes["Generate"].fields.keys() | shapes["GenerationConfig"].fields.keys()
    (settings,) = models(f"{GENAI}:^GenerateContentConfigDict$")
    assert fields_of(settings).keys() - described == kept_by_the_sdk


class Tool(TypedDict):
    type: Literal["time_machine"]


class Request(TypedDict):
    model: str
    vault_id: str
    tools: list[Tool]


def test_new_reference_field_is_found() -> None:
    rule = api_description("openai").paths("bodies")["chat/completions"]
    assert set(gaps(Request, rule)) == {".vault_id of Request", ".tools[] of type time_machine"}
