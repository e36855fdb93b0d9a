"""A [[provider]] entry's keys that say what differs from its preset."""

from __future__ import annotations

import re
from typing import Final

from blindrelay.provider_bridge.header_policy import NEVER_SENT, is_header_name
from blindrelay.provider_bridge.presets import Preset, preset_at, presets
from blindrelay.provider_bridge.providers import CacheRules, CallError, CredentialStyle
from blindrelay.serving import Table
from blindrelay.v1.http_headers import ACCOUNT_HEADERS

_PREFIX: Final = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,63}")
_FIELD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_OFF: Final = "off"
_CONTROLS: Final = {"pass": True, "refuse": False}


def read_preset(table: Table) -> Preset:
    """The preset that `preset` names, its paths below `base`. Raises ConfigError."""
    name, base = table.text("preset"), table.optional_text("base")
    if name not in presets():
        raise table.error("preset", f'is "{name}", which is none of {", ".join(sorted(presets()))}')
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


def read_cache_rules(table: Table, preset: Preset) -> CacheRules:
    """`cache_salt`, a field's name or "off", and `cache_controls`, "pass" or "refuse"."""
    salt, controls = table.optional_text("cache_salt"), table.optional_text("cache_controls")
    if salt is not None and not _FIELD.fullmatch(salt):
        raise table.error("cache_salt", f'is "{salt}", which is neither the name of a field nor "{_OFF}"')
    if controls is not None and controls not in _CONTROLS:
        raise table.error("cache_controls", f'is "{controls}", which is neither "pass" nor "refuse"')
    return CacheRules(
        salt=preset.cache.salt if salt is None else None if salt == _OFF else salt,
        controls=preset.cache.controls if controls is None else _CONTROLS[controls],
    )


def _header(table: Table, key: str, text: str) -> bytes:
    name = text.lower().encode("utf-8")
    if not is_header_name(name):
        raise table.error(key, f'has "{text}", which is not a header\'s name')
    if name in NEVER_SENT:
        raise table.error(key, f'has "{text}", which no request to a provider may have')
    return name
