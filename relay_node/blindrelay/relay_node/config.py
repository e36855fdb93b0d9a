"""relay.toml: where the relay listens, whom it admits, where its bridges are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from blindrelay.serving import (
    Address,
    ChannelTls,
    ServerTls,
    Table,
    read_config,
    read_token,
    require_tls_off_loopback,
)

MAX_REPLICAS: Final = 20
"""Bridge processes behind one relay: as many directories of two keys fit into one answer (section 5)."""


@dataclass(frozen=True)
class ReplicaConfig:
    """One bridge process. `token` is what the bridge knows this relay by."""

    address: Address
    tls: ChannelTls | None = None
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class RelayConfig:
    """The whole of relay.toml; `tokens` is the file of hashed access tokens of clients."""

    listen: Address
    tokens: Path
    replicas: tuple[ReplicaConfig, ...]
    tls: ServerTls | None = None
    drain_seconds: int = 30
    max_exchanges: int = 1_000


def read_relay_config(path: Path) -> RelayConfig:
    """Reads relay.toml and what it refers to. Raises ConfigError, one sentence with file and key."""
    return read_config(path, _relay)


def _relay(table: Table) -> RelayConfig:
    config = RelayConfig(
        listen=table.address("listen"),
        tokens=table.path("tokens"),
        replicas=table.tables("replica", _replica),
        tls=table.table("tls", ServerTls.read),
        drain_seconds=table.integer("drain_seconds", default=30, minimum=0, maximum=86_400),
        max_exchanges=table.integer("max_exchanges", default=1_000, minimum=1, maximum=1_000_000),
    )
    require_tls_off_loopback(config.listen, config.tls)
    if len(config.replicas) > MAX_REPLICAS:
        raise table.error("replica", f"has {len(config.replicas)} entries; at most {MAX_REPLICAS} are served")
    if len({replica.address for replica in config.replicas}) < len(config.replicas):
        raise table.error("replica", "has an address twice; each bridge process stands in it once")
    return config


def _replica(table: Table) -> ReplicaConfig:
    address, tls = table.address("address"), table.table("tls", ChannelTls.read)
    token_file = table.optional_path("token_file")
    if address.port == 0:
        raise table.error("address", "has port 0: write the port on which the bridge listens")
    if tls is None and not address.is_loopback:
        raise table.error("address", f"= {address} is another machine: add a [replica.tls] section")
    return ReplicaConfig(address, tls, None if token_file is None else read_token(token_file))
