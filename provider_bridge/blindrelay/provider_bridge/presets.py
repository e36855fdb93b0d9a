"""The providers that are known by name, from presets.toml (docs/adding-a-provider.md)."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from blindrelay.provider_bridge.credentials import CredentialStyle
from blindrelay.provider_bridge.policy.urls import Origin, parse_origin
from blindrelay.provider_bridge.providers import AllowedCall, CallError, parse_calls
from blindrelay.provider_bridge.stateless.description import CACHE_RULES, Description, Layer, api_description

_BASE: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*")


@dataclass(frozen=True)
class Preset:
    """A provider that is known by name.

    Attributes:
        origin: of its API, or None if each operator has a server of their own.
        cache: the layer of a description with the rules for its prompt cache.
        stateless: what bodies may hold with an injected credential, with that layer.
        compatible, anthropic: where the APIs in these two dialects begin, or None.
    """

    origin: Origin | None
    credential: CredentialStyle
    injected: tuple[AllowedCall, ...]
    brought: tuple[AllowedCall, ...]
    cache: Layer
    stateless: Description
    compatible: str | None = None
    anthropic: str | None = None


def presets() -> dict[str, Preset]:
    """All presets, with the provider's own paths."""
    return {name: preset_at(name, None) for name in preset_names()}


def preset_names() -> list[str]:
    """The presets' names."""
    return list(_table())


def base_of(name: str) -> str:
    """Where the paths of a preset begin. Raises KeyError for an unknown name."""
    return str(_table()[name]["base"])


@cache
def preset_at(name: str, base: str | None) -> Preset:
    """A preset with its paths below `base` ("/openai/v1") instead of the provider's own.

    Raises KeyError for an unknown name and CallError for a base that is not a path.
    """
    values = _table()[name]
    if base is None:
        base = base_of(name)
    check_base(base)
    origin = values.get("origin")
    cache_rules = {key: values[key] for key in CACHE_RULES if key in values}
    return Preset(
        origin=None if origin is None else parse_origin(origin),
        credential=CredentialStyle(
            values.get("credential_header", "authorization").encode("ascii"),
            values.get("credential_prefix", "Bearer ").encode("ascii"),
        ),
        injected=parse_calls(values["injected"], base),
        brought=parse_calls(values["brought"], base),
        cache=cache_rules,
        stateless=api_description(values.get("stateless", name)).extended(cache_rules),
        compatible=_below(base, values.get("compatible")),
        anthropic=_below(base, values.get("anthropic")),
    )


def check_base(path: str) -> None:
    """Raises CallError for what is not the beginning of an API's paths."""
    if not _BASE.fullmatch(path):
        raise CallError(f'"{path}" is not a path such as /openai/v1, without a slash at its end')


def _below(base: str, path: str | None) -> str | None:
    return None if path is None else base + path


@cache
def _table() -> dict[str, dict[str, Any]]:
    return tomllib.loads(files("blindrelay.provider_bridge").joinpath("presets.toml").read_text("utf-8"))
