"""The providers that the endpoint knows by name, and their base URLs."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from blindrelay.client.errors import ConfigurationError
from blindrelay.client.provider_apis import BASE_URLS

IS_VERSION: Final = re.compile(r"v[0-9]+(?:(?:alpha|beta)[0-9]*)?")
"""A path segment that names an API's version: v1, v1beta, v2."""

_NAME: Final = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class Provider:
    """One API.

    Attributes:
        name: the first segment of local paths to it.
        origin: scheme, host and port: "https://api.openai.com".
        prefix: of its paths, before the version: "" or "/openai".
        version: added to paths that have none: "v1"; "" adds nothing.
    """

    name: str
    origin: str
    prefix: str = ""
    version: str = ""

    @classmethod
    def at(cls, name: str, base_url: str) -> Provider:
        """The provider with this base URL, as an SDK would take it. Raises ConfigurationError."""
        try:
            parts = urlsplit(base_url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid or parts.query or parts.fragment or "@" in parts.netloc:
            raise ConfigurationError(f"the provider {name} needs a base URL: https://models.example/v1")
        before, _, last = parts.path.rstrip("/").rpartition("/")
        if IS_VERSION.fullmatch(last):
            return cls(name, f"{parts.scheme}://{parts.netloc}", before, last)
        return cls(name, f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/"))

    def url(self, segments: list[str]) -> str:
        """The URL of a path at this provider."""
        return f"{self.origin}{self.prefix}/{'/'.join(segments)}"

    def without_prefix(self, segments: list[str]) -> list[str]:
        """A path's segments without the prefix that url() adds, and without a repeated name.

        Base URLs often contain what an SDK adds itself: /groq/openai/v1, /openai/openai/v1.
        """
        prefix = self.prefix.removeprefix("/").split("/") if self.prefix else []
        if prefix and segments[: len(prefix)] == prefix and segments[len(prefix) :]:
            return segments[len(prefix) :]
        if segments[0] == self.name and segments[1:] and IS_VERSION.fullmatch(segments[1]):
            return segments[1:]
        return segments

    def with_version(self, segments: list[str]) -> list[str]:
        """A path's segments, after the version unless the first or second is a version."""
        named = any(IS_VERSION.fullmatch(each) for each in segments[:2])
        return segments if named or not self.version else [self.version, *segments]


def read_providers(path: Path | None) -> dict[str, Provider]:
    """The providers that are known by name, and those in ``[providers]`` of the configuration file, if any.

    Raises ConfigurationError.
    """
    urls = {**BASE_URLS, **_configured(path)}
    return {name: Provider.at(name, url) for name, url in urls.items()}


def _configured(path: Path | None) -> Mapping[str, str]:
    if path is None or not path.exists():
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("providers", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if not isinstance(table, dict):
        raise ConfigurationError(f'{path}: providers must be a table of NAME = "base URL"')
    for name, url in table.items():
        if not _NAME.fullmatch(name) or IS_VERSION.fullmatch(name) or not isinstance(url, str):
            raise ConfigurationError(
                f'{path}: [providers] {name}: write name = "base URL", with a name in small letters'
            )
    return table
