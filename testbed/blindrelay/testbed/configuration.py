"""The bridge of a testbed: which providers it has, and which bodies it takes for stateless."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from blindrelay.testing.configuration import MappedProvider, Models, Option, Tables
from blindrelay.testing.configuration import write_bridge_config as write_plain_config

_SCRIPT: Final = "script.toml"
_LOCAL_SCRIPT: Final = "local-script.toml"
"""Descriptions of bodies. The second is for a server that answers as OpenAI, and may be a model server."""

_SCRIPT_FIELDS: Final = "".join(
    f'[{shape}]\n"$content" = "scripted"\n' for shape in ("Chat", "Responses", "Messages")
)
"""What tests tell the scripted provider, in every API's shape of a request."""


def official_providers(
    target: str, options: Mapping[str, Option] | None = None
) -> tuple[MappedProvider, ...]:
    """OpenAI's and Anthropic's own addresses, answered by one local provider."""
    return tuple(
        MappedProvider(name, f"https://api.{name}.com", target, options=options or {})
        for name in ("openai", "anthropic")
    )


def write_bridge_config(
    path: Path,
    listen: str,
    providers: Sequence[MappedProvider],
    options: Mapping[str, Option],
    tables: Tables | None = None,
    models: Models | None = None,
) -> None:
    """Writes bridge.toml, in which bodies for local providers may have the field "scripted"."""
    path.with_name(_SCRIPT).write_text(_SCRIPT_FIELDS)
    path.with_name(_LOCAL_SCRIPT).write_text(f'extends = "self_hosted"\n{_SCRIPT_FIELDS}')
    scripted = [_with_script(provider) for provider in providers]
    write_plain_config(path, listen, scripted, options, tables, models)


def _with_script(provider: MappedProvider) -> MappedProvider:
    if provider.target is None:
        return provider
    script = _LOCAL_SCRIPT if (provider.preset or provider.name) == "openai" else _SCRIPT
    return replace(provider, options={**provider.options, "stateless": script})
