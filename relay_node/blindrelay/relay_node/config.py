"""relay.toml: where the relay listens, whom it admits, where its bridges are."""

from __future__ import annotations

from dataclasses import dataclass
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
    """One bridge process. `token_file` has what shows it who we are; `plaintext` as in RelayConfig."""

    address: Address
    tls: ChannelTls | None = None
    token_file: Path | None = None
    plaintext: bool = False


@dataclass(frozen=True)
class RelayConfig:
    """The whole of relay.toml.

    `tokens` is the file of hashed access tokens of clients; `plaintext` allows a listener without TLS that
    other machines can reach, because what carries the connections encrypts them. `sandbox` has the process
    give up writing files and running programs before it serves (Linux).
    """

    listen: Address
    tokens: Path
    replicas: tuple[ReplicaConfig, ...]
    tls: ServerTls | None = None
    drain_seconds: int = 30
    max_exchanges: int = 1_000
    plaintext: bool = False
    sandbox: bool = False


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
        plaintext=table.flag("plaintext", default=False),
        sandbox=table.flag("sandbox", default=False),
    )
    require_tls_off_loopback(config.listen, config.tls, plaintext=config.plaintext)
    if len(config.replicas) > MAX_REPLICAS:
        raise table.error("replica", f"has {len(config.replicas)} entries; at most {MAX_REPLICAS} are served")
    if len({replica.address for replica in config.replicas}) < len(config.replicas):
        raise table.error("replica", "has an address twice; each bridge process stands in it once")
    return config


def _replica(table: Table) -> ReplicaConfig:
    address, tls = table.address("address"), table.table("tls", ChannelTls.read)
    token_file, plaintext = table.optional_path("token_file"), table.flag("plaintext", default=False)
    if address.port == 0:
        raise table.error("address", "has port 0: write the port on which the bridge listens")
    _check_replica_tls(table, address, tls, plaintext=plaintext)
    if token_file is not None:
        read_token(token_file)  # what is wrong with it is said at once
    return ReplicaConfig(address, tls, token_file, plaintext)


def _check_replica_tls(table: Table, address: Address, tls: ChannelTls | None, *, plaintext: bool) -> None:
    if plaintext and tls is not None:
        raise table.error("plaintext", "= true contradicts [replica.tls]: leave one of them out")
    if tls is None and not plaintext and not address.is_loopback:
        raise table.error(
            "address",
            f"= {address} is another machine: add a [replica.tls] section, "
            "or say plaintext = true if the network between encrypts by itself",
        )
