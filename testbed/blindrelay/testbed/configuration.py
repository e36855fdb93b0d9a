"""The configuration files of a testbed's relay and bridges, written the way an operator would."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

Option = str | int | bool

_SCRIPT: Final = "script.toml"
_LOCAL_SCRIPT: Final = "local-script.toml"
"""Descriptions of bodies. The second is for what answers as OpenAI, which may be a model server."""

_SCRIPT_FIELDS: Final = "".join(
    f'[{shape}]\n"$content" = "scripted"\n' for shape in ("Chat", "Responses", "Messages")
)
"""What tests tell the scripted provider, in every API's shape of a request."""


@dataclass(frozen=True)
class MappedProvider:
    """A [[provider]] entry: what clients call `origin` is answered by `target`, if there is one.

    `credential_variable` names the environment variable with the key that the bridge injects; `preset` is the
    name's own if it is None; `options` are more keys of the entry.
    """

    name: str
    origin: str
    target: str | None = None
    credential_variable: str | None = None
    preset: str | None = None
    options: Mapping[str, Option] = field(default_factory=dict)

    def toml(self) -> str:
        lines = ["[[provider]]", _line("name", self.name), _line("preset", self.preset or self.name)]
        lines.append(_line("origin", self.origin))
        lines += [_line(name, value) for name, value in self.options.items()]
        if self.target is not None:
            script = _LOCAL_SCRIPT if (self.preset or self.name) == "openai" else _SCRIPT
            lines += [_line("target", self.target), _line("stateless", script)]
        if self.credential_variable is not None:
            lines.append(f"credential = {{ env = {json.dumps(self.credential_variable)} }}")
        return _joined(lines)


def official_providers(
    target: str, options: Mapping[str, Option] | None = None
) -> tuple[MappedProvider, ...]:
    """OpenAI's and Anthropic's own addresses, answered by one local provider."""
    return tuple(
        MappedProvider(name, f"https://api.{name}.com", target, options=options or {})
        for name in ("openai", "anthropic")
    )


def write_bridge_config(
    path: Path, listen: str, providers: Sequence[MappedProvider], options: Mapping[str, Option]
) -> None:
    """Writes bridge.toml. Bridges whose files are in one folder share its identity key."""
    lines = [_line("listen", listen), _line("identity_key", "identity.key")]
    lines += [_line(name, value) for name, value in options.items()]
    path.with_name(_SCRIPT).write_text(_SCRIPT_FIELDS)
    path.with_name(_LOCAL_SCRIPT).write_text(f'extends = "self_hosted"\n{_SCRIPT_FIELDS}')
    path.write_text("\n".join([_joined(lines), *(provider.toml() for provider in providers)]))


def write_relay_config(
    path: Path,
    listen: str,
    replicas: Sequence[str],
    options: Mapping[str, Option],
    identity: str | None = None,
) -> None:
    """Writes relay.toml, for the bridges at the addresses `replicas`; several need their identity."""
    lines = [_line("listen", listen), _line("tokens", "tokens")]
    lines += [_line(name, value) for name, value in options.items()]
    pin = [] if identity is None else [_line("identity", identity)]
    blocks = [_joined(["[[replica]]", _line("address", address), *pin]) for address in replicas]
    path.write_text("\n".join([_joined(lines), *blocks]))


def _line(name: str, value: Option) -> str:
    # JSON's strings, numbers and truth values are TOML's, too.
    return f"{name} = {json.dumps(value)}"


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"
