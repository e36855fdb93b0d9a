"""The [page] section of a ledger's configuration."""

from __future__ import annotations

from dataclasses import dataclass

from blindrelay.serving import Address, ServerTls, Table, require_tls_off_loopback
from blindrelay.serving.errors import ConfigError


@dataclass(frozen=True)
class PageConfig:
    """Where the pages listen.

    Attributes:
        operator: the operator's pages, on loopback unless there is TLS.
        customers: the customers' page, on another port; None if there is none.
        tls: certificate and key of both listeners.
        plaintext: whether a proxy in front encrypts, so that they may listen off loopback without TLS.
        names: host names that browsers use for them, besides localhost and the listeners' own addresses.
    """

    operator: Address
    customers: Address | None = None
    tls: ServerTls | None = None
    plaintext: bool = False
    names: tuple[str, ...] = ()

    @property
    def is_https(self) -> bool:
        """Whether browsers reach the pages by https."""
        return self.tls is not None or self.plaintext


def read_page_config(table: Table) -> PageConfig:
    """From [page]: listen, customers, names, plaintext (optional), and [page.tls]. Raises ConfigError."""
    config = PageConfig(
        table.address("listen"),
        None if table.optional_text("customers") is None else table.address("customers"),
        table.table("tls", ServerTls.read),
        table.flag("plaintext", default=False),
        table.texts("names") or (),
    )
    for key, address in (("listen", config.operator), ("customers", config.customers)):
        if address is not None:
            try:
                require_tls_off_loopback(address, config.tls, plaintext=config.plaintext)
            except ConfigError as error:
                raise table.error(key, f": {error}") from None
    return config
