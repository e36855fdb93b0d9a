"""The configuration files of a local relay and its bridges, as an operator would write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Option = str | int | bool

Models = Mapping[str, str | Sequence[str]]
"""What the bridge serves at one address: for each public name "PROVIDER/MODEL", or several in the order in
which they are tried. "anthropic/*" is a wildcard."""


@dataclass(frozen=True)
class MappedProvider:
    """A [[provider]] entry: what clients call at `origin` is answered by `target`.

    Attributes:
        target: the base URL of a local server, or None for the provider itself.
        credential_variable: the environment variable with the key that the bridge adds to requests.
        preset: the preset of the entry; None means the one called `name`.
        options: more keys of the entry.
    """

    name: str
    origin: str
    target: str | None = None
    credential_variable: str | None = None
    preset: str | None = None
    options: Mapping[str, Option] = field(default_factory=dict)

    def toml(self) -> str:
        """The entry."""
        values = {"name": self.name, "preset": self.preset or self.name, "origin": self.origin}
        target = {} if self.target is None else {"target": self.target}
        lines = ["[[provider]]", *_lines({**values, **self.options, **target})]
        if self.credential_variable is not None:
            lines.append(f"credential = {{ env = {json.dumps(self.credential_variable)} }}")
        return "\n".join(lines)


def write_bridge_config(
    path: Path,
    listen: str,
    providers: Sequence[MappedProvider],
    options: Mapping[str, Option],
    models: Models | None = None,
) -> None:
    """Writes bridge.toml. Bridges whose files are in one folder share its identity key."""
    top = _lines({"listen": listen, "identity_key": "identity.key", **options})
    entries = [_model(name, targets) for name, targets in (models or {}).items()]
    aggregate = ["[aggregate]"] if entries else []
    path.write_text("\n".join([*top, *(provider.toml() for provider in providers), *aggregate, *entries, ""]))


def write_relay_config(
    path: Path,
    listen: str,
    replicas: Sequence[str],
    options: Mapping[str, Option],
    identity: str | None = None,
) -> None:
    """Writes relay.toml, for bridges at the addresses `replicas`. Several need their identity."""
    lines = _lines({"listen": listen, "tokens": "tokens", **options})
    pin = {} if identity is None else {"identity": identity}
    for address in replicas:
        lines += ["[[replica]]", *_lines({"address": address, **pin})]
    path.write_text("\n".join([*lines, ""]))


def _model(name: str, targets: str | Sequence[str]) -> str:
    lines = ["[[model]]", f"name = {json.dumps(name)}", "targets = ["]
    for priority, target in enumerate([targets] if isinstance(targets, str) else targets):
        provider, _, model = target.partition("/")
        fields = _lines({"provider": provider, "model": model, "priority": priority})
        lines.append(f"    {{ {', '.join(fields)} }},")
    return "\n".join([*lines, "]"])


def _lines(values: Mapping[str, Option]) -> list[str]:
    # JSON's strings, numbers and truth values are TOML's too.
    return [f"{name} = {json.dumps(value)}" for name, value in values.items()]
