"""The ledger of a testbed: its configuration, a price table, and an account with units."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from blindrelay.testbed.ports import free_address
from blindrelay.testbed.processes import PartProcess
from blindrelay.testing.configuration import Option, Tables, write_prices

UNITS: Final = 1_000_000_000
"""What the testbed's own account begins with: 10,000 USD."""

PRICES: Final = {
    f"{provider}/*": {"input": 250_000, "output": 1_000_000} for provider in ("openai", "anthropic")
}
"""Units for a million tokens. A unit is 10 µUSD: 2.50 and 10 USD for a million."""


class Ledger:
    """What makes a testbed's bridges charge, and its relay ask a ledger.

    Args:
        folder: returns the testbed's folder, once there is one.
        bridges, identity: return the bridges' addresses, and what clients pin.
        name: the part's name.
        database: returns the URL of a PostgreSQL database for the books. By default they are in a file.

    Attributes:
        part: runs the process.
    """

    def __init__(
        self,
        folder: Callable[[], Path],
        bridges: Callable[[], Iterable[str]],
        identity: Callable[[], str],
        *,
        name: str = "ledger",
        database: Callable[[], str] | None = None,
    ) -> None:
        self._folder = folder
        self._database = database
        self._bridges = bridges
        self._identity = identity
        self.part = PartProcess(name, "blindrelay.ledger", self._arguments)

    @property
    def config(self) -> Path:
        """ledger.toml."""
        return self._folder() / "ledger.toml"

    @property
    def described(self) -> dict[str, str]:
        """What a program needs that operates the ledger."""
        announced = self.part.announcement
        return {"admin": announced["admin"], "page": announced["page"], "config": str(self.config)}

    def billing(self, bridge: str) -> Tables:
        """The sections with which a bridge keeps bills. Writes its prices."""
        return write_prices(self._folder(), PRICES, bridge)

    def relay_options(self, address: str | None = None) -> Mapping[str, Option]:
        """The relay's [ledger] section, with another way to it if one is given."""
        return {"address": address or self.part.listening, "token_file": "ledger-token"}

    def open_account(self, name: str, units: int = UNITS) -> str:
        """Makes an account with so many units, and returns a token for it. The ledger must be up."""
        return asyncio.run(_open_account(self.config, name, units))

    def _issue_relay_token(self) -> None:
        """Makes the token that the relay shows the ledger."""
        from blindrelay.serving import issue_token

        token = issue_token(self._folder() / "relays", "relay", datetime.now(UTC))
        file = self._folder() / "ledger-token"
        file.touch(mode=0o600)
        file.write_text(token)

    def _arguments(self) -> list[str]:
        if not (self._folder() / "relays").exists():
            self._issue_relay_token()
        announced = self.part.announcement
        listen = announced.get("listening") or free_address()
        admin = announced.get("admin") or free_address()
        page = announced.get("page", f"http://{free_address()}").removeprefix("http://").rstrip("/")
        lines = [
            *(f'listen = "{listen}"', f'admin = "{admin}"', 'tokens = "relays"', self._books()),
            *("drain_seconds = 2", "[page]", f'listen = "{page}"'),
        ]
        for address in self._bridges():
            lines += ["[[bridge]]", f'address = "{address}"', f'identity = "{self._identity()}"']
        self.config.write_text("\n".join(lines) + "\n")
        return ["serve", "--config", str(self.config), "--json"]

    def _books(self) -> str:
        if self._database is None:
            return 'books = "ledger.db"'
        file = self._folder() / "books.url"
        file.touch(mode=0o600)
        file.write_text(self._database())
        return f'books_url = "{file.name}"'


async def _open_account(config: Path, name: str, units: int) -> str:
    from blindrelay.admin.v1.admin_pb2 import AddAccountRequest, AddCreditRequest, IssueTokenRequest
    from blindrelay.ledger.admin_channel import admin_stub
    from blindrelay.ledger.config import read_ledger_config

    async with admin_stub(read_ledger_config(config)) as stub:
        await stub.AddAccount(AddAccountRequest(name=name))
        await stub.AddCredit(AddCreditRequest(account=name, units=units, reference="testbed"))
        return (await stub.IssueToken(IssueTokenRequest(account=name, name="testbed"))).token
