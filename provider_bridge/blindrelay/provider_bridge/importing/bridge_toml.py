"""Writes what was imported as a bridge.toml, and keys that it had in clear as private files beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd, lcm
from pathlib import Path
from typing import Final

from blindrelay.provider_bridge.credential_config import MAX_WEIGHT
from blindrelay.provider_bridge.importing.deployments import Api, Deployment, Imported, Key
from blindrelay.provider_bridge.presets import preset_at
from blindrelay.serving import ConfigError
from blindrelay.v1.private_file import make_file

_HEAD: Final = """# Written by `blindrelay-bridge import`. Read it once before you use it (docs/models.md).
listen = "127.0.0.1:8490"
identity_key = "identity.key"

[aggregate]
"""


@dataclass(frozen=True)
class _Provider:
    """One [[provider]] entry: the keys that are used together at one API."""

    name: str
    api: Api
    keys: tuple[Key, ...]


@dataclass
class BridgeFiles:
    """The files to write.

    Attributes:
        keys: the text of each key's file, by the file's name.
    """

    toml: str
    keys: dict[str, str] = field(repr=False)

    def write(self, path: Path) -> list[Path]:
        """Writes bridge.toml and, beside it, the keys (mode 0600). Existing files stay: ConfigError."""
        texts = {path.with_name(name): text + "\n" for name, text in self.keys.items()}
        texts[path] = self.toml
        for file in texts:
            if file.exists():
                raise ConfigError(f"{file} exists, and an import never replaces a file: choose another --out")
        for file, text in texts.items():
            _make(file, text)
        return list(texts)


def bridge_files(imported: Imported) -> BridgeFiles:
    """The configuration with everything that was imported."""
    providers = _providers(imported.deployments)
    keys: dict[str, str] = {}
    sections = [_HEAD]
    origins: set[str] = set()
    for each in providers:
        sections.append(_provider_section(each, _address(each, origins), keys))
    sections += [_model_section(imported, name, providers) for name in imported.names]
    return BridgeFiles("\n".join(sections), keys)


def _providers(deployments: list[Deployment]) -> list[_Provider]:
    """One for each API and set of keys, named after the preset."""
    providers: list[_Provider] = []
    for api, keys in dict.fromkeys((each.api, each.keys) for each in deployments):
        count = sum(each.api.preset == api.preset for each in providers)
        providers.append(_Provider(f"{api.preset}-{count + 1}" if count else api.preset, api, keys))
    return providers


def _provider_section(provider: _Provider, address: dict[str, str], keys: dict[str, str]) -> str:
    api, several = provider.api, len(provider.keys) > 1
    lines = ["[[provider]]", f"name = {_quoted(provider.name)}", f"preset = {_quoted(api.preset)}"]
    lines += [f"{key} = {_quoted(value)}" for key, value in address.items()]
    sources = []
    for number, key in enumerate(provider.keys, 1):
        suffix = f"-{number}" if several else ""
        sources.append(_source(key, f"{provider.name}{suffix}.key", keys))
    if several:
        entries = [f'    {{ name = "{number}", {source} }},' for number, source in enumerate(sources, 1)]
        lines += ["credentials = [", *entries, "]"]
    elif sources:
        lines.append(f"credential = {{ {sources[0]} }}")
    return "\n".join([*lines, ""])


def _address(provider: _Provider, origins: set[str]) -> dict[str, str]:
    """The keys that say where it is, if not where the preset says. No two entries may share an origin."""
    api = provider.api
    origin = api.origin or str(preset_at(api.preset, None).origin)
    if origin in origins:
        address = {"origin": f"https://{provider.name}.blindrelay.internal", "target": origin}
    else:
        address = {} if api.origin is None else {"origin": api.origin}
        origins.add(origin)
    return address if api.base is None else {**address, "base": api.base}


def _source(key: Key, file: str, keys: dict[str, str]) -> str:
    if key.variable is not None:
        return f"env = {_quoted(key.variable)}"
    keys[file] = key.secret or ""
    return f"file = {_quoted(file)}"


def _model_section(imported: Imported, name: str, providers: list[_Provider]) -> str:
    deployments = imported.of(name)
    names = {(each.api, each.keys): each.name for each in providers}
    aliases = [alias for alias, target in imported.aliases.items() if target == name]
    lines = ["[[model]]", f"name = {_quoted(name)}"]
    if aliases:
        lines.append(f"aliases = [{', '.join(map(_quoted, aliases))}]")
    lines.append("targets = [")
    for each, weight in zip(deployments, _weights(deployments), strict=True):
        fields = {"provider": _quoted(names[each.api, each.keys]), "model": _quoted(each.model)}
        fields |= {"weight": str(weight), "priority": str(each.priority)} if len(deployments) > 1 else {}
        lines.append("    { " + ", ".join(f"{key} = {value}" for key, value in fields.items()) + " },")
    return "\n".join([*lines, "]", ""])


def _weights(deployments: list[Deployment]) -> list[int]:
    """The weights as integers in the same proportions, as far as they fit."""
    exact = [Fraction(str(each.weight)) for each in deployments]
    scale = lcm(*(each.denominator for each in exact))
    whole = [int(each * scale) for each in exact]
    divisor = gcd(*whole)
    whole = [each // divisor for each in whole]
    largest = max(whole)
    if largest <= MAX_WEIGHT:
        return whole
    return [max(1, round(each * MAX_WEIGHT / largest)) for each in whole]


def _quoted(text: str) -> str:
    """A TOML string. JSON's escapes are TOML's, except that of the last control character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _make(file: Path, text: str) -> None:
    try:
        made = make_file(file, text.encode("utf-8"))
    except OSError as error:
        raise ConfigError(f"{file} cannot be written ({error.strerror})") from None
    if not made:
        raise ConfigError(f"{file} exists, and an import never replaces a file: choose another --out")
