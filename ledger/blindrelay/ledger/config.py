"""ledger.toml: where the ledger listens, where its books are, and whose receipts it collects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from blindrelay.ledger.page import PageConfig, read_page_config
from blindrelay.serving import (
    Address,
    ChannelTls,
    ServerTls,
    Table,
    read_config,
    read_secret,
    read_token,
    require_tls_off_loopback,
)
from blindrelay.serving.metrics import read_metrics_address


@dataclass(frozen=True)
class BridgeConfig:
    """A bridge whose receipts the ledger collects.

    Attributes:
        identities: 32 bytes each, the present one and the next one; receipts of others are not accepted.
        token_file: the token under which the relays call this bridge.
        plaintext: as in LedgerConfig.
    """

    address: Address
    identities: tuple[bytes, ...]
    tls: ChannelTls | None = None
    token_file: Path | None = None
    plaintext: bool = False


@dataclass(frozen=True)
class LedgerConfig:
    """The content of ledger.toml.

    Attributes:
        listen: for relays.
        tokens: the file of hashed tokens of those relays.
        books: the SQLite file, which is made at the first start, or the URL of a PostgreSQL database.
        admin: for commands and the page, on loopback.
        admin_token: the file of the token that they show. It is made at the first start.
        plaintext: lets relays of other machines connect without TLS, because the network itself encrypts.
    """

    listen: Address
    tokens: Path
    books: Path | str = field(repr=False)
    admin: Address
    admin_token: Path
    bridges: tuple[BridgeConfig, ...]
    tls: ServerTls | None = None
    page: PageConfig | None = None
    drain_seconds: int = 5
    plaintext: bool = False
    metrics: Address | None = None


def read_ledger_config(path: Path) -> LedgerConfig:
    """Reads ledger.toml. Raises ConfigError, one sentence with file and key."""
    return read_config(path, _ledger)


def _ledger(table: Table) -> LedgerConfig:
    books, beside = _books(table)
    config = LedgerConfig(
        listen=table.address("listen"),
        tokens=table.path("tokens"),
        books=books,
        admin=_loopback(table, "admin"),
        admin_token=table.optional_path("admin_token") or beside.with_name("admin-token"),
        bridges=table.tables("bridge", _bridge),
        tls=table.table("tls", ServerTls.read),
        page=table.table("page", read_page_config),
        drain_seconds=table.integer("drain_seconds", default=5, minimum=0, maximum=3_600),
        plaintext=table.flag("plaintext", default=False),
        metrics=read_metrics_address(table),
    )
    require_tls_off_loopback(config.listen, config.tls, plaintext=config.plaintext)
    if config.admin.port == 0:
        raise table.error("admin", "has port 0: write the port on which commands find the ledger")
    if len({bridge.address for bridge in config.bridges}) < len(config.bridges):
        raise table.error("bridge", "has an address twice: list each bridge process once")
    return config


def _books(table: Table) -> tuple[Path | str, Path]:
    """Where the books are, and the file beside which others are made."""
    file, url_file = table.optional_path("books"), table.optional_path("books_url")
    if file is not None and url_file is not None:
        raise table.error("books_url", "contradicts books: the books are in a file or in a database")
    if url_file is None:
        return (books := table.path("books")), books
    url = read_secret(url_file, "books_url file").decode("utf-8", "replace").strip()
    if not url.startswith(("postgresql://", "postgres://")):
        raise table.error("books_url", f"{url_file} does not begin with postgresql://")
    return url, url_file


def _loopback(table: Table, key: str) -> Address:
    address = table.address(key)
    if not address.is_loopback:
        raise table.error(
            key, f"= {address} is open to other machines: it is served on 127.0.0.1 or ::1 only"
        )
    return address


def _bridge(table: Table) -> BridgeConfig:
    address, tls = table.address("address"), table.table("tls", ChannelTls.read)
    token_file, plaintext = table.optional_path("token_file"), table.flag("plaintext", default=False)
    if address.port == 0:
        raise table.error("address", "has port 0: write the port on which the bridge listens")
    if plaintext and tls is not None:
        raise table.error("plaintext", "= true contradicts [bridge.tls]: leave one of them out")
    if tls is None and not plaintext and not address.is_loopback:
        raise table.error(
            "address",
            f"= {address} is another machine: add a [bridge.tls] section, "
            "or set plaintext = true if the network itself encrypts",
        )
    if token_file is not None:
        read_token(token_file)  # reports a wrong file at start
    table.text("identity")  # is required
    return BridgeConfig(address, tuple(_identities(table)), tls, token_file, plaintext)


def _identities(table: Table) -> Iterator[bytes]:
    for key in ("identity", "next_identity"):
        identity = table.optional_identity(key)
        if identity is not None:
            yield identity
