"""A [[provider]] entry's keys that say what differs from its preset."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from blindrelay.provider_bridge.policy.headers import NEVER_SENT, is_header_name
from blindrelay.provider_bridge.presets import Preset, preset_at, preset_names
from blindrelay.provider_bridge.providers import CallError, CredentialStyle
from blindrelay.provider_bridge.stateless.description import (
    CACHE_CONTROLS,
    Description,
    DescriptionError,
    Layer,
    api_description,
    read_description,
)
from blindrelay.serving import Table
from blindrelay.v1.http_headers import ACCOUNT_HEADERS

_PREFIX: Final = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,63}")
_FIELD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def read_preset(table: Table) -> Preset:
    """The preset that `preset` names, its paths below `base`. Raises ConfigError."""
    name, base = table.text("preset"), table.optional_text("base")
    if name not in preset_names():
        raise table.error("preset", f'is "{name}", which is none of {", ".join(sorted(preset_names()))}')
    try:
        return preset_at(name, base)
    except CallError as error:
        raise table.error("base", f"is wrong: {error}") from None


def read_credential_style(table: Table, preset: Preset) -> CredentialStyle:
    """`credential_header` and `credential_prefix`. A header other than the preset's has no default prefix."""
    name, prefix = table.optional_text("credential_header"), table.optional_text("credential_prefix")
    header = preset.credential.header if name is None else _header(table, "credential_header", name)
    if prefix is not None and not _PREFIX.fullmatch(prefix):
        raise table.error("credential_prefix", "must be printable ASCII, at most 64 characters")
    if prefix is not None:
        return CredentialStyle(header, prefix.encode("ascii"))
    return preset.credential if header == preset.credential.header else CredentialStyle(header, b"")


def read_request_headers(table: Table, credential: CredentialStyle) -> frozenset[bytes]:
    """`request_headers`: names that pass with the bridge's credential beside the protocol's own."""
    names = frozenset(
        _header(table, "request_headers", name) for name in table.texts("request_headers") or ()
    )
    for name in sorted(names & (ACCOUNT_HEADERS | {credential.header})):
        raise table.error(
            "request_headers",
            f'has "{name.decode()}", which belongs to a credential: the bridge adds its own',
        )
    return names


def read_stateless(table: Table, preset: Preset) -> Description:
    """`stateless`, the name of an API or of the operator's own file, with what holds for the prompt cache."""
    path = table.optional_path("stateless")
    rules = _cache_rules(table)
    try:
        return _description(path, preset).extended({**preset.cache, **rules})
    except OSError as error:
        raise table.error("stateless", f"names {path}: {error.strerror}") from None
    except DescriptionError as error:
        raise table.error("stateless" if path else "cache_salt", f"is wrong: {error}") from None


def _description(path: Path | None, preset: Preset) -> Description:
    if path is None:
        return preset.stateless
    return read_description(path, preset.stateless) if path.suffix == ".toml" else api_description(path.name)


def _cache_rules(table: Table) -> Layer:
    """`cache_salt`, a field's name or "off", and `cache_controls`, "pass" or "refuse"."""
    salt, controls = table.optional_text("cache_salt"), table.optional_text("cache_controls")
    if salt is not None and not _FIELD.fullmatch(salt):
        raise table.error("cache_salt", f'is "{salt}", which is neither the name of a field nor "off"')
    if controls is not None and controls not in CACHE_CONTROLS:
        raise table.error("cache_controls", f'is "{controls}", which is neither "pass" nor "refuse"')
    rules = {"cache_salt": salt, "cache_controls": controls}
    return {key: value for key, value in rules.items() if value is not None}


def _header(table: Table, key: str, text: str) -> bytes:
    name = text.lower().encode("utf-8")
    if not is_header_name(name):
        raise table.error(key, f'has "{text}", which is not a header\'s name')
    if name in NEVER_SENT:
        raise table.error(key, f'has "{text}", which no request to a provider may have')
    return name
