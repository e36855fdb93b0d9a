"""Maps local paths to providers' URLs, and back."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from blindrelay.client.endpoint.providers import IS_VERSION, Provider
from blindrelay.client.endpoint.refusal import RefusedError
from blindrelay.client.provider_apis import ANTHROPIC_SEGMENT, MODELS, Api

_SHARED: Final = "audio batches chat completions embeddings files images models moderations responses uploads"
_OPENAI: Final = (
    "assistants chatkit containers conversations evals fine_tuning organization realtime skills threads "
    "vector_stores videos"
)
_OWN: Final = {
    "anthropic": "complete messages",
    "gemini": "cachedContents corpora fileSearchStores interactions openai tunedModels upload",
    "mistral": "fim ocr",
}
_RESOURCES: Final[dict[str, str | None]] = {
    **dict.fromkeys(f"{_SHARED} {_OPENAI}".split()),
    **{segment: name for name, segments in _OWN.items() for segment in segments.split()},
}
"""The provider for the first segment of a path without a provider's name, after an optional version.

None means the default provider, unless the version or a header belongs to another. Nothing else is guessed:
a wrong guess would show a provider the prompt and the key that are meant for another.
"""

_COHERE: Final = frozenset(("chat", "embed", "rerank"))
"""Cohere's v2. Without the version, other servers have these paths too."""

_VERSIONS: Final = {"v1": None, "v1alpha": "gemini", "v1beta": "gemini", "v2": "cohere"}
"""The versions that these paths may begin with, and the provider that they identify, if any."""

_ANTHROPIC: Final = "anthropic"

_MARKS: Final = {"x-goog-api-key": "gemini", "anthropic-version": _ANTHROPIC, "x-api-key": _ANTHROPIC}
"""Headers that identify a provider, because only its SDKs send them."""


@dataclass(frozen=True)
class Destination:
    """A provider's absolute URL with the query, and the API that decides the shape of errors."""

    url: str
    api: Api


class Routes:
    """The table of providers.

    Args:
        providers: by name, including the official ones.
        default: the name of the provider for paths that several APIs share.
    """

    def __init__(self, providers: Mapping[str, Provider], default: str) -> None:
        self._providers = providers
        self._default = default

    def destination(self, method: str, path: str, query: str, headers: Container[str]) -> Destination:
        """The destination of a request. `path` is percent-encoded; `headers` are names in lower case.

        Raises RefusedError (404) for a path that names no provider and is not in the table.
        """
        first, *others = path.removeprefix("/").split("/")
        if first in self._providers and (first != MODELS or _names_api(others)):
            provider = self._providers[first]
            segments = provider.with_version(provider.without_prefix(others or [""]))
        else:
            segments = [first, *others]
            owner = self._owner(method, segments, headers)
            segments = self._providers[owner].with_version(segments)
            if self._default == MODELS and owner == _ANTHROPIC:
                owner, segments = MODELS, [ANTHROPIC_SEGMENT, *segments]
            provider = self._providers[owner]
        url = provider.url(segments) + (f"?{query}" if query else "")
        return Destination(url, Api(provider.name, "/" + "/".join(segments)))

    def api(self, method: str, path: str, headers: Container[str]) -> Api:
        """The API that a request seems to be for, known or not. It decides the shape of errors."""
        try:
            return self.destination(method, path, "", headers).api
        except RefusedError:
            return Api(None, path)

    def _owner(self, method: str, segments: list[str], headers: Container[str]) -> str:
        """The name of the provider that a path without a name belongs to."""
        versions = _VERSIONS | {self._providers[self._default].version: None}
        version = segments[0] if segments[1:] and segments[0] in versions else None
        resource = segments[1] if version else segments[0]
        marked = versions[version] if version else None
        if resource not in (_COHERE if marked == "cohere" else _RESOURCES):
            raise self._unknown(resource)
        if owner := marked or _RESOURCES[resource]:
            return owner
        if method == "POST" and resource == "models" and ":" in segments[-1]:  # models/NAME:generateContent
            return "gemini"
        return next((owner for name, owner in _MARKS.items() if name in headers), self._default)

    def _unknown(self, segment: str) -> RefusedError:
        names = ", ".join(f"/{name}" for name in sorted(self._providers))
        return RefusedError(
            404,
            "unknown_path",
            f"{segment[:64]!r} is neither a known provider nor the beginning of a known API's path. "
            f"Begin the path with one of {names}, or add the provider to [providers] in the profile file",
        )

    def local_path(self, url: str) -> str | None:
        """The local path for an absolute URL; None if no known provider has that URL."""
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


def _names_api(segments: list[str]) -> bool:
    """Whether a path after /models/ is one of the bridge's models, and not the name of a model."""
    after = segments[1:] if segments[:1] == [ANTHROPIC_SEGMENT] else segments
    return bool(after) and IS_VERSION.fullmatch(after[0]) is not None
