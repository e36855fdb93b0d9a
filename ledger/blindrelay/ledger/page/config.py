"""The [page] section of a ledger's configuration."""

from __future__ import annotations

from dataclasses import dataclass

from blindrelay.serving import Address, ServerTls, Table, require_tls_off_loopback
from blindrelay.serving.errors import ConfigError


@dataclass(frozen=True)
class PageListener:
    """Where some pages listen.

    Attributes:
        address: on loopback, unless there is TLS.
        tls: certificate and key.
        plaintext: whether a proxy in front encrypts, so that it may listen off loopback without TLS.
        names: host names that browsers use, besides localhost and the address itself.
    """

    address: Address
    tls: ServerTls | None = None
    plaintext: bool = False
    names: tuple[str, ...] = ()

    @property
    def is_https(self) -> bool:
        """Whether browsers reach the pages by https."""
        return self.tls is not None or self.plaintext


@dataclass(frozen=True)
class PageConfig:
    """The operator's pages, and the customers' page on another port, if there is one."""

    operator: PageListener
    customers: PageListener | None = None


def read_page_config(table: Table) -> PageConfig:
    """From [page] and [page.customers], each with listen, names, plaintext and tls. Raises ConfigError."""
    return PageConfig(_listener(table), table.table("customers", _listener))


def _listener(table: Table) -> PageListener:
    listener = PageListener(
        table.address("listen"),
        table.table("tls", ServerTls.read),
        table.flag("plaintext", default=False),
        table.texts("names") or (),
    )
    try:
        require_tls_off_loopback(listener.address, listener.tls, plaintext=listener.plaintext)
    except ConfigError as error:
        raise table.error("listen", f"cannot be used: {error}") from None
    if listener.is_https and not listener.names and not listener.address.is_loopback:
        raise table.missing("names", "browsers need the host name that the certificate is for")
    return listener
