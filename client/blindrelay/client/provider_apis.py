"""The APIs that are known by name: their base URLs, and the form of their error bodies."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, NamedTuple
from urllib.parse import urlsplit

OFFICIAL: Final = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta",
    "mistral": "https://api.mistral.ai/v1",
    "cohere": "https://api.cohere.com/v2",
    "groq": "https://api.groq.com/openai/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "deepseek": "https://api.deepseek.com",
    "xai": "https://api.x.ai/v1",
    "together": "https://api.together.xyz/v1",
    "fireworks": "https://api.fireworks.ai/inference/v1",
    "cerebras": "https://api.cerebras.ai/v1",
}
"""Base URLs with the version, for paths without one. The bridge's presets have these origins."""

MODELS: Final = "models"
"""The name for all models of a bridge, which are at one address."""

MODELS_ORIGIN: Final = "https://models.blindrelay.internal"
"""Where a bridge serves them by default. The host is no server's: only a bridge knows it."""

ANTHROPIC_SEGMENT: Final = "anthropic"
"""Paths at MODELS_ORIGIN begin with it if the request is in the form of Anthropic's API."""

BASE_URLS: Final = {**OFFICIAL, MODELS: f"{MODELS_ORIGIN}/v1"}
"""Every name that clients know, with its base URL."""

_HOSTS: Final = {urlsplit(url).hostname: name for name, url in BASE_URLS.items()}


class ErrorShape(Enum):
    """The form of an error body, named after the API that it comes from."""

    OPENAI = auto()
    ANTHROPIC = auto()
    GEMINI = auto()
    MISTRAL = auto()
    COHERE = auto()


class Api(NamedTuple):
    """The API that a request is for, as far as it is known.

    Attributes:
        provider: its name in BASE_URLS; with any other name, the path decides.
        path: without the query; if possible it begins with the provider's version.
    """

    provider: str | None
    path: str

    @property
    def error_shape(self) -> ErrorShape:
        """The form that the SDK of this API reads."""
        shape = _SHAPES.get(self.provider or "", None)
        if shape is None:
            return _shape_by_path(self.path)
        return ErrorShape.OPENAI if _is_compatible_with_openai(self.path) and shape in _ALSO_OPENAI else shape


def api_of_url(host: str, path: str) -> Api:
    """The API at a host and path."""
    return Api(_HOSTS.get(host), path)


_SHAPES: Final = {
    "openai": ErrorShape.OPENAI,
    "anthropic": ErrorShape.ANTHROPIC,
    "gemini": ErrorShape.GEMINI,
    "mistral": ErrorShape.MISTRAL,
    "cohere": ErrorShape.COHERE,
}

_ALSO_OPENAI: Final = (ErrorShape.ANTHROPIC, ErrorShape.GEMINI, ErrorShape.COHERE)
"""Their providers have paths for the SDK of OpenAI, too."""


def _is_compatible_with_openai(path: str) -> bool:
    return path.endswith("/chat/completions") or "/openai/" in path or "/compatibility/" in path


def _shape_by_path(path: str) -> ErrorShape:
    segments = path.split("/")
    if segments[1:2] == [ANTHROPIC_SEGMENT]:
        return ErrorShape.ANTHROPIC
    if _is_compatible_with_openai(path) or "threads" in segments:
        return ErrorShape.OPENAI
    if "messages" in segments:
        return ErrorShape.ANTHROPIC
    if "v1alpha" in segments or "v1beta" in segments or ":" in segments[-1]:
        return ErrorShape.GEMINI
    return ErrorShape.OPENAI
