"""A [[provider]] entry of the configuration: its preset, and what differs from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from blindrelay.provider_bridge.credential_config import read_credential, read_pool
from blindrelay.provider_bridge.credentials import CredentialStyle
from blindrelay.provider_bridge.policy.headers import is_header_name
from blindrelay.provider_bridge.policy.urls import Origin, UrlError, parse_origin
from blindrelay.provider_bridge.presets import Preset, check_base, preset_at, preset_names
from blindrelay.provider_bridge.providers import (
    BEARER,
    IDLE_SECONDS,
    AllowedCall,
    CallError,
    Provider,
    Proxy,
    parse_calls,
)
from blindrelay.provider_bridge.stateless.description import (
    CACHE_CONTROLS,
    Description,
    DescriptionError,
    Layer,
    api_description,
    read_description,
)
from blindrelay.serving import Address, Table
from blindrelay.v1.http_headers import ACCOUNT_HEADERS, NEVER_SENT, OWN_PREFIX
from blindrelay.v1.limits import DEADLINE_SECONDS

_PROXY_STYLE: Final = CredentialStyle(b"proxy-authorization", b"Basic ", base64=True)
"""RFC 7617: the secret is user:password."""

_PREFIX: Final = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,63}")
_FIELD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def read_provider(table: Table, environment: Mapping[str, str]) -> Provider:
    """Reads an entry, and its credentials. Raises ConfigError."""
    preset = _preset(table)
    origin = _origin(table, "origin") or preset.origin
    if origin is None:
        raise table.missing("origin", "this preset has none, because each operator has a server of their own")
    target = _origin(table, "target") or origin
    if target.scheme == "http" and not target.is_loopback:
        raise table.error(
            "target", f"would be {target}: plain http is allowed only to this machine, use https"
        )
    style = _credential_style(table, preset)
    compatible_style = BEARER if style is preset.credential else style
    pool = read_pool(table, environment, style, compatible_style)
    return Provider(
        name=table.text("name"),
        origin=origin,
        target=target,
        credential=pool[0].own if pool else None,
        injected=_calls(table, "injected", preset.injected),
        brought=_calls(table, "brought", preset.brought),
        allow_close_delimited=table.flag("allow_close_delimited", default=False),
        request_headers=_request_headers(table, style),
        stateless=_stateless(table, preset),
        ca=_ca(table, target),
        proxy=_proxy(table, environment),
        compatible=_beginning(table, "compatible", preset.compatible),
        anthropic=_beginning(table, "anthropic", preset.anthropic),
        style=style,
        compatible_style=compatible_style,
        pool=pool,
        idle_seconds=table.integer(
            "idle_seconds", default=IDLE_SECONDS, minimum=1, maximum=DEADLINE_SECONDS[-1]
        ),
    )


def _beginning(table: Table, key: str, default: str | None) -> str | None:
    """The path at which an API begins. Raises ConfigError."""
    path = table.optional_text(key)
    if path is None:
        return default
    try:
        check_base(path)
    except CallError as error:
        raise table.error(key, f"is wrong: {error}") from None
    return path


def _origin(table: Table, key: str) -> Origin | None:
    text = table.optional_text(key)
    if text is None:
        return None
    try:
        return parse_origin(text)
    except UrlError as error:
        raise table.error(key, f'is "{text}", and {error}') from None


def _calls(table: Table, key: str, default: tuple[AllowedCall, ...]) -> tuple[AllowedCall, ...]:
    entries = table.texts(key)
    try:
        return default if entries is None else parse_calls(entries)
    except CallError as error:
        raise table.error(key, f"is wrong: {error}") from None


def _ca(table: Table, target: Origin) -> Path | None:
    ca = table.optional_path("ca")
    if ca is not None and target.scheme == "http":
        raise table.error("ca", f"is given, and target is plain http ({target}): leave one of them out")
    return ca


def _proxy(table: Table, environment: Mapping[str, str]) -> Proxy | None:
    text = table.optional_text("proxy")
    credential = table.table("proxy_credential", partial(read_credential, _PROXY_STYLE, environment))
    if text is None:
        if credential is not None:
            raise table.error("proxy_credential", "is given without proxy")
        return None
    if "@" in text:
        raise table.error("proxy", "has a user name or password: give them as proxy_credential")
    try:
        origin = parse_origin(text)
    except UrlError as error:
        raise table.error("proxy", f'is "{text}", and {error}') from None
    if origin.scheme != "http":
        raise table.error("proxy", f'is "{text}": a proxy is reached by plain http, such as http://host:3128')
    return Proxy(Address(origin.host.strip("[]"), origin.port), credential)


def _preset(table: Table) -> Preset:
    """The preset that `preset` names, its paths below `base`. Raises ConfigError."""
    name, base = table.text("preset"), table.optional_text("base")
    if name not in preset_names():
        raise table.error("preset", f'is "{name}", which is not one of {", ".join(sorted(preset_names()))}')
    try:
        return preset_at(name, base)
    except CallError as error:
        raise table.error("base", f"is wrong: {error}") from None


def _credential_style(table: Table, preset: Preset) -> CredentialStyle:
    """`credential_header` and `credential_prefix`. A header other than the preset's has no default prefix."""
    name, prefix = table.optional_text("credential_header"), table.optional_text("credential_prefix")
    header = preset.credential.header if name is None else _header(table, "credential_header", name)
    if prefix is not None and not _PREFIX.fullmatch(prefix):
        raise table.error("credential_prefix", "must be printable ASCII, at most 64 characters")
    if prefix is not None:
        return CredentialStyle(header, prefix.encode("ascii"))
    if name is None:
        return preset.credential
    return CredentialStyle(header, preset.credential.prefix if header == preset.credential.header else b"")


def _request_headers(table: Table, credential: CredentialStyle) -> frozenset[bytes]:
    """`request_headers`: names that also pass with the bridge's credential."""
    names = frozenset(
        _header(table, "request_headers", name) for name in table.texts("request_headers") or ()
    )
    for name in sorted(names & (ACCOUNT_HEADERS | {credential.header})):
        raise table.error(
            "request_headers",
            f'has "{name.decode()}", which belongs to a credential: the bridge adds its own',
        )
    return names


def _stateless(table: Table, preset: Preset) -> Description:
    """`stateless`, the name of an API or an operator's file, with the rules for the prompt cache."""
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
    if name in NEVER_SENT or name.startswith(OWN_PREFIX):
        raise table.error(key, f'has "{text}", which no request to a provider may have')
    return name
