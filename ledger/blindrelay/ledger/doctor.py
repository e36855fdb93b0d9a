"""`blindrelay-ledger doctor`: checks whether a ledger with this configuration could serve."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import grpc

from blindrelay.ledger.admin_channel import is_serving
from blindrelay.ledger.bills import BillReader
from blindrelay.ledger.books import Books, BooksError
from blindrelay.ledger.bridge_channel import settlement_call
from blindrelay.ledger.config import BridgeConfig, LedgerConfig, read_ledger_config
from blindrelay.ledger.settlement import reason_of
from blindrelay.serving import Address, ConfigError
from blindrelay.serving.doctor import (
    PATIENCE,
    CheckFailedError,
    Finding,
    check_certificate,
    check_tokens,
    finding,
)
from blindrelay.serving.listener import bound
from blindrelay.trust import DirectoryError
from blindrelay.v1.settlement_pb2 import SettleRequest


def ledger_findings(file: Path) -> Iterator[Finding]:
    """All checks. If the configuration is wrong, there are no others."""
    try:
        config = read_ledger_config(file)
    except ConfigError as error:
        yield Finding("configuration", False, str(error))
        return
    yield Finding("configuration", True, f"{file} is valid (bridges: {len(config.bridges)})")
    yield finding("relays", partial(check_relays, config.tokens))
    if config.tls is not None:
        yield finding("tls", partial(check_certificate, config.tls))
    for name, address in (("listen", config.listen), ("admin", config.admin)):
        yield finding(name, partial(check_port, config, address))
    yield finding("books", partial(check_books, config.books))
    for bridge in config.bridges:
        yield finding("bridge", partial(check_bridge, bridge))


def check_relays(tokens: Path) -> str:
    """Counts the relays that may report. Raises ConfigError, CheckFailedError."""
    try:
        return check_tokens(tokens)
    except CheckFailedError as failure:
        raise CheckFailedError(str(failure), "run `relay add NAME` and give the token to the relay") from None


def check_port(config: LedgerConfig, address: Address) -> str:
    """Checks that the port is free, or that this ledger runs. Raises StartError, ConfigError."""
    if is_serving(config.admin):
        return f"{address} is in use: a process listens on {config.admin}"
    bound(address).close()
    return f"{address} is free"


def check_books(place: Path | str) -> str:
    """Adds the books up. Raises CheckFailedError."""
    path = place if isinstance(place, Path) else "the database"
    if isinstance(place, Path) and not place.exists():
        return f"{path} does not exist yet: the first start makes it"
    try:
        with Books(place) as books:
            found = books.check()
    except BooksError as error:
        raise CheckFailedError(str(error)) from None
    if not found.balanced:
        raise CheckFailedError(
            f"{path} does not balance: {found.problems[0]}", "run `check` and read all of it"
        )
    return f"{path} balances (open exchanges: {found.open})"


def check_bridge(bridge: BridgeConfig) -> str:
    """Asks for its receipts, acknowledges none, and checks who signs them. Raises CheckFailedError."""
    try:
        asyncio.run(_first_items(bridge))
    except grpc.aio.AioRpcError as error:
        what, _, remedy = reason_of(error).value.partition(": ")
        raise CheckFailedError(f"{bridge.address}: {what}", remedy) from None
    except TimeoutError:
        raise CheckFailedError(f"{bridge.address}: it sent nothing", "check the bridge's log") from None
    except DirectoryError as error:
        raise CheckFailedError(
            f"{bridge.address}: {error}", "check address and identity of [[bridge]]"
        ) from None
    return f"{bridge.address} sends receipts of the configured identity"


async def _first_items(bridge: BridgeConfig) -> None:
    async with asyncio.timeout(PATIENCE), settlement_call(bridge) as call:
        await call.write(SettleRequest())
        reader = BillReader(bridge.identities, clock=lambda: 0)
        async for response in call:
            reader.read([response])
            if response.WhichOneof("item") == "signer":
                return
        raise TimeoutError
