"""The bridge's configuration, from TOML."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from blindrelay.provider_bridge.aggregate.config import Aggregate, read_aggregate
from blindrelay.provider_bridge.provider_config import read_provider
from blindrelay.provider_bridge.providers import Provider
from blindrelay.serving import Address, ServerTls, Table, read_config, require_tls_off_loopback
from blindrelay.serving.metrics import read_metrics_address
from blindrelay.trust import IdentityError, identity_hash, parse_identity
from blindrelay.v1.limits import TIME_STEP

DEFAULT_EPOCH: Final = 3_600
"""Seconds. A thief of the process can open what was sealed in the last epoch or two, and nothing older."""

DEFAULT_MAX_REQUEST: Final = 33_554_432
"""Bytes of one request's body: a long document with images. Providers have similar limits."""

DEFAULT_MAX_BUFFERED: Final = 8 * DEFAULT_MAX_REQUEST
"""Bytes of all requests held at once: eight of the largest."""

DEFAULT_DRAIN: Final = 30
DEFAULT_MAX_EXCHANGES: Final = 2_000


@dataclass(frozen=True)
class DelegatedKey:
    """The files of a signing key and of the identity's delegation to it."""

    signing_key: Path
    delegation: Path


@dataclass(frozen=True)
class BillingConfig:
    """The files of a bridge that keeps bills: its prices, and its receipts until they are acknowledged."""

    prices: Path
    outbox: Path

    @classmethod
    def read(cls, table: Table) -> BillingConfig:
        """Reads the [billing] section. Raises ConfigError."""
        return cls(table.path("prices"), table.path("outbox"))


@dataclass(frozen=True)
class BridgeConfig:
    """The configuration of a bridge process.

    Attributes:
        identity_key: the file of the identity key, made if it does not exist; or the delegation to this
            replica, if the identity key is kept elsewhere.
        epoch: seconds that a sealing key is used.
        drain: seconds that running exchanges may take when the process has to stop.
        max_request: bytes of one request's body.
        max_buffered: bytes of all requests held at once, not counting the first 64 KiB of each.
        max_exchanges: exchanges at once.
        relays: how many share the limits above and the claims; None to count them (see Peers).
        tokens: the file of the relays' hashed tokens, or None to admit everyone.
        next_identity_hash: of the next identity, announced in every directory; 32 bytes or none.
        metrics: where metrics are exposed, on this machine.
        aggregate: one address for many models, or None.
        billing: what it keeps bills with, or None to keep none.
        plaintext: the listener may be open to other machines without TLS, as something else encrypts.
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
    aggregate: Aggregate | None = None
    billing: BillingConfig | None = None


def read_bridge_config(path: Path, environment: Mapping[str, str] = os.environ) -> BridgeConfig:
    """Reads a configuration, and the credentials that it names. Raises ConfigError."""
    return read_config(path, partial(_bridge, environment=environment))


def _bridge(table: Table, environment: Mapping[str, str]) -> BridgeConfig:
    providers = table.tables("provider", partial(read_provider, environment=environment))
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
        billing=table.table("billing", BillingConfig.read),
        providers=providers,
        aggregate=read_aggregate(table, providers),
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
    """The identity key, or the delegation to this replica."""
    identity_key = table.optional_path("identity_key")
    signing_key, delegation = table.optional_path("signing_key"), table.optional_path("delegation")
    if signing_key is not None and delegation is not None and identity_key is None:
        return DelegatedKey(signing_key, delegation)
    if (signing_key is None) != (delegation is None) and identity_key is None:
        missing, given = (
            ("signing_key", "delegation") if signing_key is None else ("delegation", "signing_key")
        )
        raise table.missing(missing, f"{given} needs it")
    if identity_key is None:
        raise table.missing("identity_key", "give a path, or both signing_key and delegation")
    if signing_key is not None or delegation is not None:
        raise table.error(
            "identity_key", "is given, and so is signing_key or delegation: give one or the other"
        )
    return identity_key


def _check_limits(table: Table, config: BridgeConfig) -> None:
    if config.max_buffered < config.max_request:
        raise table.error(
            "max_buffered_bytes", "must be at least max_request_bytes, or the largest request would never fit"
        )


def _check_peers(table: Table, config: BridgeConfig) -> None:
    """Off loopback, relays must show who they are: anybody else could use the bridge's credentials."""
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
