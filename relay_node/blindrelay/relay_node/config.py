"""relay.toml: where the relay listens, whom it admits, and where its bridges are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blindrelay.serving import (
    UNREAD_SECONDS,
    Address,
    ChannelTls,
    ServerTls,
    Table,
    read_config,
    read_token,
    require_tls_off_loopback,
)
from blindrelay.serving.metrics import read_metrics_address
from blindrelay.v1.http_proxy import HttpProxy
from blindrelay.v1.limits import MAX_MESSAGE_SIZE

MAX_REPLICAS: Final = 20
"""Bridge processes behind one relay. One response has room for 20 directories of two keys (section 5)."""

MAX_EXCHANGES_PER_TOKEN: Final = 200
"""Concurrent exchanges. A busy client uses 64, and five tokens at this limit still leave room for others."""

MAX_CONNECTIONS_PER_TOKEN: Final = 100
"""Connections with a call on them: a tenth of a process's limit. Each program with the token uses one."""

MAX_REQUEST_BYTES: Final = 134_217_728
"""What a bridge keeps for one relay by default. One token may use half: two of the largest requests."""


@dataclass(frozen=True)
class PeerConfig:
    """A server that the relay calls: a bridge process, or the ledger.

    Attributes:
        token_file: the token that the relay presents to it.
        plaintext: as in RelayConfig.
        proxy: the HTTP proxy on the way to it. The environment's proxies are not used.
    """

    address: Address
    tls: ChannelTls | None = None
    token_file: Path | None = None
    plaintext: bool = False
    proxy: HttpProxy | None = None

    @property
    def next_hop(self) -> Address:
        """The address to connect to: the server's, or that of the HTTP proxy on the way to it."""
        return self.address if self.proxy is None else Address(self.proxy.host, self.proxy.port)


@dataclass(frozen=True)
class ReplicaConfig(PeerConfig):
    """One bridge process.

    Attributes:
        identities: the identities for which it may list keys, 32 bytes each. Empty means any.
    """

    identities: frozenset[bytes] = frozenset()


@dataclass(frozen=True)
class EnvoyConfig:
    """The [envoy] section: Envoy as the data plane (`blindrelay-relay envoy`).

    Attributes:
        folder: for its configuration and the pipe of usage lines; by default `envoy` beside relay.toml.
        max_heap_bytes: of Envoy. Near that it takes no new exchanges.
        max_connections: of clients, at once.
    """

    folder: Path
    max_heap_bytes: int = 2**30
    max_connections: int = 10_000


@dataclass(frozen=True)
class RelayConfig:
    """The content of relay.toml.

    Attributes:
        tokens: the file of hashed access tokens, or None with a ledger. Their clients share the limits
            (blindrelay.serving.Shares).
        max_request_bytes: bytes of unfinished requests, for each bridge.
        unread_seconds: a client that does not read a message for so long ends its exchange.
        plaintext: allows other machines to connect without TLS, because the network itself encrypts.
        sandbox: whether the process enters the sandbox before it serves (Linux).
        metrics: where the process, or the first worker, serves metrics: on loopback.
        ledger: knows the tokens and keeps the accounts, instead of `tokens`.
    """

    listen: Address
    tokens: Path | None
    replicas: tuple[ReplicaConfig, ...]
    tls: ServerTls | None = None
    drain_seconds: int = 30
    max_exchanges: int = 1_000
    max_exchanges_per_token: int = MAX_EXCHANGES_PER_TOKEN
    max_connections_per_token: int = MAX_CONNECTIONS_PER_TOKEN
    max_request_bytes: int = MAX_REQUEST_BYTES
    unread_seconds: int = UNREAD_SECONDS
    plaintext: bool = False
    sandbox: bool = False
    metrics: Address | None = None
    ledger: PeerConfig | None = None
    envoy: EnvoyConfig | None = None

    @property
    def peers(self) -> tuple[PeerConfig, ...]:
        """All that the relay connects to."""
        return self.replicas if self.ledger is None else (*self.replicas, self.ledger)


def read_relay_config(path: Path) -> RelayConfig:
    """Reads relay.toml and checks the files it names. Raises ConfigError, one sentence with file and key."""
    return read_config(path, _relay)


def _relay(table: Table) -> RelayConfig:
    ledger = table.table("ledger", _ledger)
    if ledger is not None and table.optional_text("tokens") is not None:
        raise table.error("tokens", "contradicts [ledger], which knows the tokens: leave one of them out")
    config = RelayConfig(
        listen=table.address("listen"),
        tokens=table.path("tokens") if ledger is None else None,
        ledger=ledger,
        replicas=table.tables("replica", _replica),
        tls=table.table("tls", ServerTls.read),
        drain_seconds=table.integer("drain_seconds", default=30, minimum=0, maximum=86_400),
        max_exchanges=table.integer("max_exchanges", default=1_000, minimum=1, maximum=1_000_000),
        max_exchanges_per_token=table.integer(
            "max_exchanges_per_token", default=MAX_EXCHANGES_PER_TOKEN, minimum=1, maximum=1_000_000
        ),
        max_connections_per_token=table.integer(
            "max_connections_per_token", default=MAX_CONNECTIONS_PER_TOKEN, minimum=1, maximum=1_000_000
        ),
        max_request_bytes=table.integer(
            "max_request_bytes", default=MAX_REQUEST_BYTES, minimum=MAX_MESSAGE_SIZE, maximum=2**40
        ),
        unread_seconds=table.integer("unread_seconds", default=UNREAD_SECONDS, minimum=1, maximum=86_400),
        plaintext=table.flag("plaintext", default=False),
        sandbox=table.flag("sandbox", default=False),
        metrics=read_metrics_address(table),
        envoy=table.table("envoy", _envoy),
    )
    require_tls_off_loopback(config.listen, config.tls, plaintext=config.plaintext)
    if len(config.replicas) > MAX_REPLICAS:
        raise table.error("replica", f"has {len(config.replicas)} entries: the maximum is {MAX_REPLICAS}")
    if len({replica.address for replica in config.replicas}) < len(config.replicas):
        raise table.error("replica", "has an address twice: list each bridge process once")
    _check_identities(table, config.replicas)
    return config


def _check_identities(table: Table, replicas: tuple[ReplicaConfig, ...]) -> None:
    """A relay cannot tell whether two bridges have one operator. So each needs an identity."""
    unpinned = next((replica for replica in replicas if not replica.identities), None)
    if len(replicas) > 1 and unpinned is not None:
        raise table.error(
            "replica",
            f'at {unpinned.address} has no identity: with several replicas, add identity = "br1..." to each. '
            "Otherwise one bridge could receive the exchanges of another",
        )


def _envoy(table: Table) -> EnvoyConfig:
    return EnvoyConfig(
        folder=table.path("folder"),
        max_heap_bytes=table.integer("max_heap_bytes", default=2**30, minimum=2**26, maximum=2**40),
        max_connections=table.integer("max_connections", default=10_000, minimum=1, maximum=1_000_000),
    )


def _replica(table: Table) -> ReplicaConfig:
    peer = _peer(table, "[replica.tls]")
    return ReplicaConfig(**vars(peer), identities=frozenset(_identities(table, "identity", "next_identity")))


def _ledger(table: Table) -> PeerConfig:
    return _peer(table, "[ledger.tls]")


def _peer(table: Table, tls_section: str) -> PeerConfig:
    address, tls = table.address("address"), table.table("tls", ChannelTls.read)
    token_file, plaintext = table.optional_path("token_file"), table.flag("plaintext", default=False)
    if address.port == 0:
        raise table.error("address", "has port 0: write the port on which it listens")
    _check_peer_tls(table, tls_section, address, tls, plaintext=plaintext)
    proxy = _proxy(table)
    if proxy is not None and tls is None and not plaintext:
        problem = f"needs a {tls_section} section: without TLS the proxy would see the token"
        raise table.error("proxy", problem)
    if token_file is not None:
        read_token(token_file)  # reports a wrong file at start
    return PeerConfig(address, tls, token_file, plaintext, proxy)


def _proxy(table: Table) -> HttpProxy | None:
    text = table.optional_text("proxy")
    try:
        return None if text is None else HttpProxy.parse(text)
    except ValueError as error:
        raise table.error("proxy", str(error)) from None


def _identities(table: Table, *keys: str) -> Iterator[bytes]:
    for key in keys:
        identity = table.optional_identity(key)
        if identity is not None:
            yield identity


def _check_peer_tls(
    table: Table, section: str, address: Address, tls: ChannelTls | None, *, plaintext: bool
) -> None:
    if plaintext and tls is not None:
        raise table.error("plaintext", f"= true contradicts {section}: leave one of them out")
    if tls is None and not plaintext and not address.is_loopback:
        raise table.error(
            "address",
            f"= {address} is another machine: add a {section} section, "
            "or set plaintext = true if the network itself encrypts",
        )
