"""Where a request is meant for, and how an absolute URL of a provider is spelt here."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from blindrelay.client.endpoint.providers import Provider

ANTHROPIC: Final = "anthropic"
GEMINI: Final = "gemini"
_GEMINI_VERSIONS: Final = ("v1alpha", "v1beta")


@dataclass(frozen=True)
class Destination:
    """A provider's URL.

    Attributes:
        url: absolute, with the query.
        path: of the provider's API, from its version on: it decides the shape of errors.
    """

    url: str
    path: str


class Routes:
    """The table of providers.

    Args:
        providers: by name; the three official ones are among them.
        default: the name of the one that takes what no other is known by.
    """

    def __init__(self, providers: Mapping[str, Provider], default: str) -> None:
        self._providers = providers
        self._default = default

    def destination(self, method: str, path: str, query: str, headers: Container[str]) -> Destination:
        """Where a request goes. `path` is percent-encoded; `headers` are names in lower case."""
        first, *others = path.removeprefix("/").split("/")
        if first in self._providers and others:
            provider, rest = self._providers[first], others
        else:
            rest = [first, *others]
            provider = self._providers[self._guess(method, rest, headers)]
        segments = provider.with_version(rest)
        url = provider.url(segments) + (f"?{query}" if query else "")
        return Destination(url, "/" + "/".join(segments))

    def _guess(self, method: str, segments: list[str], headers: Container[str]) -> str:
        """Whose API this is: Google's and Anthropic's have marks of their own, and OpenAI's is anybody's."""
        if "x-goog-api-key" in headers or any(each in _GEMINI_VERSIONS for each in segments[:2]):
            return GEMINI
        if method == "POST" and ":" in segments[-1]:  # models/NAME:generateContent
            return GEMINI
        if "anthropic-version" in headers or "messages" in segments[:2]:
            return ANTHROPIC
        return self._default

    def local_path(self, url: str) -> str | None:
        """The path here that leads to an absolute URL; None if it is no known provider's."""
        try:
            parts = urlsplit(url)
            origin = f"{parts.scheme}://{parts.netloc}".lower()
        except ValueError:
            return None
        for provider in self._providers.values():
            if origin == provider.origin.lower() and parts.path.startswith(provider.prefix + "/"):
                query = f"?{parts.query}" if parts.query else ""
                return f"/{provider.name}{parts.path.removeprefix(provider.prefix)}{query}"
        return None
