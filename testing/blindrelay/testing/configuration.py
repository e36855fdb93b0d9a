"""The configuration files of a local relay and its bridges, as an operator would write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

Option = str | int | bool
Tables = Mapping[str, Mapping[str, Option]]
"""Sections of a configuration file: their keys by their names."""
Prices = Mapping[str, Mapping[str, int]]
"""Units for a million, by measure, of each "provider/model"."""

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
    tables: Tables | None = None,
    models: Models | None = None,
) -> None:
    """Writes bridge.toml. Bridges whose files are in one folder share its identity key."""
    lines = _lines({"listen": listen, "identity_key": "identity.key", **options})
    lines += _tables({**(tables or {}), **({"aggregate": {}} if models else {})})
    entries = [_model(name, targets) for name, targets in (models or {}).items()]
    path.write_text("\n".join([*lines, *(provider.toml() for provider in providers), *entries, ""]))


def write_prices(folder: Path, prices: Prices, name: str = "bridge") -> Tables:
    """Writes prices.toml, valid for a year. Returns the sections with which that bridge charges by it."""
    today, day = datetime.now(UTC).date(), timedelta(days=1)
    lines = _lines({"valid_from": str(today - day), "valid_to": str(today + 365 * day), "unit": "10 µUSD"})
    for model, rates in prices.items():
        provider, _, model_name = model.partition("/")
        lines += ["[[price]]", *_lines({"provider": provider, "model": model_name, **rates})]
    (folder / "prices.toml").write_text("\n".join([*lines, ""]), "utf-8")
    return {"billing": {"prices": "prices.toml", "outbox": f"{name}.outbox.db"}}


def write_relay_config(
    path: Path,
    listen: str,
    replicas: Sequence[str],
    options: Mapping[str, Option],
    identity: str | None = None,
    ledger: Mapping[str, Option] | None = None,
) -> None:
    """Writes relay.toml, for bridges at the addresses `replicas`. Several need their identity.

    `ledger` is the [ledger] section. Without it, the tokens are in the file "tokens".
    """
    tokens = {"tokens": "tokens"} if ledger is None else {}
    lines = _lines({"listen": listen, **tokens, **options})
    lines += _tables({} if ledger is None else {"ledger": ledger})
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


def _tables(tables: Tables) -> list[str]:
    return [line for name, values in tables.items() for line in (f"[{name}]", *_lines(values))]


def _lines(values: Mapping[str, Option]) -> list[str]:
    # JSON's strings, numbers and truth values are TOML's too.
    return [f"{name} = {json.dumps(value)}" for name, value in values.items()]
