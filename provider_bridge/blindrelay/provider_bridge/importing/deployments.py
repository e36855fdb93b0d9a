"""What an import takes from another gateway: models, where each is deployed, and what could not be taken."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

from blindrelay.provider_bridge.aggregate.model_table import NAME, STAR
from blindrelay.provider_bridge.policy.urls import UrlError, parse_origin
from blindrelay.provider_bridge.presets import base_of, preset_names

_KEY: Final = re.compile(r"[!-~]{1,4096}")

_VERSION: Final = re.compile(r"v[0-9]+")


class NotTakenError(Exception):
    """An entry that cannot be taken. The text says why, without any secret."""


@dataclass(frozen=True)
class Key:
    """A provider's key: the name of an environment variable, or the key itself, which never prints.

    Raises NotTakenError for what the bridge would not read.
    """

    variable: str | None = None
    secret: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.secret is not None and not _KEY.fullmatch(self.secret):
            raise NotTakenError("its key is not printable ASCII without spaces")


@dataclass(frozen=True)
class Api:
    """Where a deployment is served.

    Attributes:
        preset: the bridge's preset.
        origin: of the server, or None for the preset's own.
        base: of the paths, or None for the preset's own.
    """

    preset: str
    origin: str | None = None
    base: str | None = None


@dataclass(frozen=True)
class Deployment:
    """One place that serves a model.

    Attributes:
        name: the model's public name; "anthropic/*" is a wildcard.
        model: the provider's name of it.
        keys: they share the work equally; empty if the server needs none.
        weight: its share among the deployments of this name and priority; above zero.
        priority: a lower number goes first.

    Raises NotTakenError for names that the bridge would not read.
    """

    name: str
    model: str
    api: Api
    keys: tuple[Key, ...]
    weight: float = 1
    priority: int = 0

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name) or not NAME.fullmatch(self.model):
            raise NotTakenError("a model's name has spaces, non-ASCII characters, or over 256 characters")
        if self.name.count(STAR) > 1 or self.model.count(STAR) > self.name.count(STAR):
            raise NotTakenError("a name has a * that the bridge cannot replace")


@dataclass
class Imported:
    """What was read.

    Attributes:
        aliases: further names of a model, each with the model's public name.
        notes: a line for everything that was not taken.
    """

    deployments: list[Deployment] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def leave(self, entry: str, reason: object) -> None:
        """Notes that an entry, or a part of it, is not taken."""
        self.notes.append(" ".join(f"{entry}: {reason}".split()))

    @property
    def names(self) -> list[str]:
        """The models' public names, in their order."""
        return list(dict.fromkeys(deployment.name for deployment in self.deployments))

    def of(self, name: str) -> list[Deployment]:
        """The deployments of a public name."""
        return [deployment for deployment in self.deployments if deployment.name == name]

    def rank(self) -> None:
        """Counts the priorities of each name from 0."""
        used = {name: sorted({each.priority for each in self.of(name)}) for name in self.names}
        self.deployments = [
            replace(each, priority=used[each.name].index(each.priority)) for each in self.deployments
        ]


def api_at(preset: str, url: str | None, *, adds_version: bool) -> Api:
    """The API of a preset at a base URL.

    `adds_version`: the other gateway adds /v1 to the URL, so the URL has none. Raises NotTakenError.
    """
    if preset not in preset_names():
        raise NotTakenError(f"the bridge has no preset {preset}")
    if not url:
        return Api(preset)
    try:
        parts = urlsplit(url.strip())
        origin = parse_origin(f"{parts.scheme}://{parts.netloc}")
    except (UrlError, ValueError):
        raise NotTakenError("its base URL is not a valid URL") from None
    if origin.scheme == "http" and not origin.is_loopback:
        raise NotTakenError(f"{origin} is plain http to another machine, which the bridge refuses: use https")
    return Api(preset, str(origin), _base(preset, parts.path.rstrip("/"), adds_version=adds_version))


def _base(preset: str, path: str, *, adds_version: bool) -> str | None:
    if preset == "azure":  # the same for every resource; what follows it is made from the call
        return None
    if not _VERSION.fullmatch(base_of(preset).rpartition("/")[2]):  # the version is in the preset's paths
        return path.removesuffix("/v1") or None
    base = f"{path}/v1" if adds_version else path
    if not base:
        raise NotTakenError("its paths begin at the root of its address: write its [[provider]] by hand")
    return base


def text_of(values: dict[str, Any], key: str) -> str | None:
    """A text, or None if it is absent, null or empty. Raises NotTakenError."""
    value = values.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise NotTakenError(f"its {key} is not a string")
    return value.strip()


def number_of(values: dict[str, Any], key: str) -> float | None:
    """A number that is not negative, or None if it is absent or null. Raises NotTakenError."""
    value = values.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise NotTakenError(f"its {key} is not a number from 0 on")
    return value
