"""The bridge's configuration, from TOML."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from blindrelay.provider_bridge.credentials import Credential
from blindrelay.provider_bridge.policy.urls import Origin, UrlError, parse_origin
from blindrelay.provider_bridge.provider_options import (
    read_credential_style,
    read_preset,
    read_request_headers,
    read_stateless,
)
from blindrelay.provider_bridge.providers import (
    AllowedCall,
    CallError,
    CredentialStyle,
    Provider,
    Proxy,
    parse_calls,
)
from blindrelay.serving import (
    Address,
    ConfigError,
    ServerTls,
    Table,
    read_config,
    read_secret,
    require_tls_off_loopback,
)
from blindrelay.serving.metrics import read_metrics_address
from blindrelay.trust import IdentityError, identity_hash, parse_identity
from blindrelay.v1.limits import TIME_STEP

DEFAULT_EPOCH: Final = 3_600
"""Seconds. Whoever takes the process can open what was sealed in the last epoch or two, and nothing older."""

DEFAULT_MAX_REQUEST: Final = 33_554_432
"""Bytes of one request's body: a long document with images. Providers' own limits are near it."""

DEFAULT_MAX_BUFFERED: Final = 8 * DEFAULT_MAX_REQUEST
"""Bytes of all requests that are held at once: eight of the largest."""

DEFAULT_DRAIN: Final = 30
DEFAULT_MAX_EXCHANGES: Final = 2_000

_PROXY_STYLE: Final = CredentialStyle(b"proxy-authorization", b"Basic ", base64=True)
"""RFC 7617: the secret is user:password."""

_CREDENTIAL: Final = re.compile(r"[\x21-\x7e]{1,4096}")


@dataclass(frozen=True)
class DelegatedKey:
    """The files of a signing key and of the identity's delegation to it."""

    signing_key: Path
    delegation: Path


@dataclass(frozen=True)
class BridgeConfig:
    """What a bridge process is told.

    Attributes:
        identity_key: the file of the identity key, made if it is not there; or what stands in for it, if it
            is kept elsewhere.
        epoch: seconds that a sealing key serves.
        drain: seconds that running exchanges may take when the process is told to stop.
        max_request: bytes of one request's body.
        max_buffered: bytes of all requests that are held at once, but for the first 64 KiB of each.
        max_exchanges: exchanges at once.
        relays: how many share the bridge, each with its share of the above and of the claims; None to count
            them (see Peers).
        tokens: the file of hashed tokens of the relays, or None to admit everyone.
        next_identity_hash: of the identity that is to follow, announced in every directory; 32 bytes or none.
        metrics: where metrics are exposed, on this machine.
        plaintext: other machines may reach a listener without TLS: what carries the connections encrypts.
    """

    listen: Address
    identity_key: Path | DelegatedKey
    epoch: int
    drain: int
    max_request: int
    max_buffered: int
    max_exchanges: int
    tokens: Path | None
    tls: ServerTls | None
    providers: tuple[Provider, ...]
    plaintext: bool = False
    next_identity_hash: bytes = b""
    metrics: Address | None = None
    relays: int | None = None


def read_bridge_config(path: Path, environment: Mapping[str, str] = os.environ) -> BridgeConfig:
    """Reads a configuration, and the credentials that it names. Raises ConfigError."""
    return read_config(path, partial(_bridge, environment=environment))


def _bridge(table: Table, environment: Mapping[str, str]) -> BridgeConfig:
    config = BridgeConfig(
        listen=table.address("listen"),
        identity_key=_identity_key(table),
        next_identity_hash=_next_identity_hash(table),
        metrics=read_metrics_address(table),
        epoch=_epoch(table),
        drain=table.integer("drain_seconds", default=DEFAULT_DRAIN, minimum=0, maximum=86_400),
        max_request=table.integer(
            "max_request_bytes", default=DEFAULT_MAX_REQUEST, minimum=65_536, maximum=1_073_741_824
        ),
        max_buffered=table.integer(
            "max_buffered_bytes", default=DEFAULT_MAX_BUFFERED, minimum=65_536, maximum=1_099_511_627_776
        ),
        max_exchanges=table.integer(
            "max_exchanges", default=DEFAULT_MAX_EXCHANGES, minimum=1, maximum=10_000
        ),
        relays=table.integer("relays", default=0, minimum=1, maximum=1_000) or None,
        tokens=table.optional_path("tokens"),
        tls=table.table("tls", ServerTls.read),
        providers=table.tables("provider", partial(_provider, environment=environment)),
        plaintext=table.flag("plaintext", default=False),
    )
    require_tls_off_loopback(config.listen, config.tls, plaintext=config.plaintext)
    _check_limits(table, config)
    _check_peers(table, config)
    _check_distinct(table, config.providers)
    return config


def _epoch(table: Table) -> int:
    epoch = table.integer("epoch_seconds", default=DEFAULT_EPOCH, minimum=60, maximum=86_400)
    if epoch % TIME_STEP:
        raise table.error("epoch_seconds", f"must be a multiple of {TIME_STEP}")
    return epoch


def _next_identity_hash(table: Table) -> bytes:
    text = table.optional_text("next_identity")
    if text is None:
        return b""
    if table.optional_path("identity_key") is None:
        raise table.error("next_identity", "goes with identity_key; otherwise the delegation announces it")
    try:
        return identity_hash(parse_identity(text))
    except IdentityError as error:
        raise table.error("next_identity", f"is wrong: {error}") from None


def _identity_key(table: Table) -> Path | DelegatedKey:
    """The identity key, or what stands in for it."""
    identity_key = table.optional_path("identity_key")
    signing_key, delegation = table.optional_path("signing_key"), table.optional_path("delegation")
    if signing_key is not None and delegation is not None and identity_key is None:
        return DelegatedKey(signing_key, delegation)
    if (signing_key is None) != (delegation is None) and identity_key is None:
        missing, given = (
            ("signing_key", "delegation") if signing_key is None else ("delegation", "signing_key")
        )
        raise table.error(missing, f"is missing beside {given}")
    if identity_key is None:
        raise table.error(
            "identity_key", "is missing: a path is needed, or else both signing_key and delegation"
        )
    if signing_key is not None or delegation is not None:
        raise table.error(
            "identity_key", "is there, and so are signing_key or delegation: give one or the other"
        )
    return identity_key


def _check_limits(table: Table, config: BridgeConfig) -> None:
    if config.max_buffered < config.max_request:
        raise table.error("max_buffered_bytes", "must be at least max_request_bytes, or no such request fits")


def _check_peers(table: Table, config: BridgeConfig) -> None:
    """Off loopback only relays that show who they are: to others the bridge would lend its credentials."""
    if config.listen.is_loopback:
        return
    if config.tokens is None and (config.tls is None or config.tls.client_ca is None):
        raise table.error(
            "listen",
            f"= {config.listen} is open to other machines: add tokens, or client_ca in the [tls] section, "
            "so that only your relays are served; or listen on 127.0.0.1",
        )


def _check_distinct(table: Table, providers: tuple[Provider, ...]) -> None:
    for what in ("name", "origin"):
        values = [str(getattr(provider, what)) for provider in providers]
        for value in values:
            if values.count(value) > 1:
                raise table.error("provider", f'has two entries with the {what} "{value}"')


def _provider(table: Table, environment: Mapping[str, str]) -> Provider:
    preset = read_preset(table)
    origin = _origin(table, "origin") or preset.origin
    if origin is None:
        raise table.error("origin", "is missing: this preset's servers are everybody's own")
    target = _origin(table, "target") or origin
    if target.scheme == "http" and not target.is_loopback:
        raise table.error("target", f"would be {target}: plain http is for this machine only, use https")
    style = read_credential_style(table, preset)
    return Provider(
        name=table.text("name"),
        origin=origin,
        target=target,
        credential=table.table("credential", partial(_credential, style, environment)),
        injected=_calls(table, "injected", preset.injected),
        brought=_calls(table, "brought", preset.brought),
        allow_close_delimited=table.flag("allow_close_delimited", default=False),
        request_headers=read_request_headers(table, style),
        stateless=read_stateless(table, preset),
        ca=_ca(table, target),
        proxy=_proxy(table, environment),
    )


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
    credential = table.table("proxy_credential", partial(_credential, _PROXY_STYLE, environment))
    if text is None:
        if credential is not None:
            raise table.error("proxy_credential", "goes with proxy, which is missing")
        return None
    if "@" in text:
        raise table.error("proxy", "holds a user name or password: give them as proxy_credential")
    try:
        origin = parse_origin(text)
    except UrlError as error:
        raise table.error("proxy", f'is "{text}", and {error}') from None
    if origin.scheme != "http":
        raise table.error("proxy", f'is "{text}": a proxy is reached by plain http, such as http://host:3128')
    return Proxy(Address(origin.host.strip("[]"), origin.port), credential)


def _credential(style: CredentialStyle, environment: Mapping[str, str], table: Table) -> Credential:
    """The credential that a { env = … } or { file = … } names. Its text is in no message."""
    variable, path = table.optional_text("env"), table.optional_path("file")
    if (variable is None) == (path is None):
        raise table.error("env", "or file: exactly one of the two names the credential")
    if variable is not None and not environment.get(variable):
        raise table.error("env", f"names {variable}, and that environment variable is not set")

    def read() -> bytes:
        if path is None:
            return style.value(_checked(environment[str(variable)], f"the environment variable {variable}"))
        secret = read_secret(path, "credential file").decode("ascii", "replace")
        return style.value(_checked(secret, str(path)))

    read()
    return Credential(style.header, read, path)


def _checked(secret: str, source: str) -> bytes:
    secret = secret.strip()
    if not _CREDENTIAL.fullmatch(secret):
        raise ConfigError(f"{source}: not a credential: it is empty, or not printable ASCII without spaces")
    return secret.encode("ascii")
