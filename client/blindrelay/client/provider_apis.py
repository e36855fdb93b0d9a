"""The APIs that are known by name: where they begin, and in which shape their SDKs read an error."""

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
}
"""Base URLs with the version that is used where a path names none. The bridge has presets for the same."""

_HOSTS: Final = {urlsplit(url).hostname: name for name, url in OFFICIAL.items()}


class ErrorShape(Enum):
    """How an error body is built, by the API that it belongs to."""

    OPENAI = auto()
    ANTHROPIC = auto()
    GEMINI = auto()
    MISTRAL = auto()
    COHERE = auto()


class Api(NamedTuple):
    """What is known of the API that a request is for.

    Attributes:
        provider: its name in OFFICIAL, or any other: then the path decides.
        path: without query, from the provider's version on where that is known.
    """

    provider: str | None
    path: str

    @property
    def error_shape(self) -> ErrorShape:
        """The shape that the SDK of this API reads."""
        shape = _SHAPES.get(self.provider or "", None)
        if shape is None:
            return _shape_by_path(self.path)
        return ErrorShape.OPENAI if _is_compatible_with_openai(self.path) and shape in _ALSO_OPENAI else shape


def api_of_url(host: str, path: str) -> Api:
    """The API behind an absolute URL's host and path."""
    return Api(_HOSTS.get(host), path)


_SHAPES: Final = {
    "openai": ErrorShape.OPENAI,
    "anthropic": ErrorShape.ANTHROPIC,
    "gemini": ErrorShape.GEMINI,
    "mistral": ErrorShape.MISTRAL,
    "cohere": ErrorShape.COHERE,
}

_ALSO_OPENAI: Final = (ErrorShape.ANTHROPIC, ErrorShape.GEMINI, ErrorShape.COHERE)
"""Those whose providers have paths for OpenAI's SDK too."""


def _is_compatible_with_openai(path: str) -> bool:
    return path.endswith("/chat/completions") or "/openai/" in path or "/compatibility/" in path


def _shape_by_path(path: str) -> ErrorShape:
    segments = path.split("/")
    if _is_compatible_with_openai(path) or "threads" in segments:
        return ErrorShape.OPENAI
    if "messages" in segments:
        return ErrorShape.ANTHROPIC
    if "v1alpha" in segments or "v1beta" in segments or ":" in segments[-1]:
        return ErrorShape.GEMINI
    return ErrorShape.OPENAI
