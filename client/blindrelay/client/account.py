"""What a relay with a ledger says about the account of a token (spec/protocol.md, annex E)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import grpc

from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.errors import RelayError
from blindrelay.client.relay_connection import RelayConnection
from blindrelay.client.relay_errors import relay_error
from blindrelay.v1.accounts_pb2 import GetPriceTableRequest, GetStatementRequest, StatementLine
from blindrelay.v1.accounts_pb2_grpc import AccountServiceStub
from blindrelay.v1.receipts_pb2 import SignedPriceTable

_CONNECT_SECONDS: Final = 10.0
_CALL_SECONDS: Final = 60.0
"""Seconds for a month's lines. A person is waiting."""


@dataclass(frozen=True)
class AccountStatement:
    """What an account was charged in a month, as the relay says. Nothing in it is verified.

    Attributes:
        balance: units, now.
        charged: units, in the month.
        lines: one for each exchange, oldest first.
    """

    balance: int
    charged: int
    lines: list[StatementLine]


class Account:
    """The account that the connection's token belongs to. Use it in an `async with` block."""

    def __init__(self, config: ConnectionConfig) -> None:
        self._relay = RelayConnection(config)

    async def __aenter__(self) -> Account:
        await self._relay.connect(_CONNECT_SECONDS)
        self._stub = AccountServiceStub(self._relay.grpc)
        return self

    async def __aexit__(self, *_: object) -> None:
        del self._stub
        await self._relay.close()

    async def statement(self, month: str) -> AccountStatement:
        """The statement of a month, "YYYY-MM", or of the present one for "". Raises RelayError."""
        call = self._stub.GetStatement(
            GetStatementRequest(month=month), metadata=self._relay.lease.token, timeout=_CALL_SECONDS
        )
        try:
            pages = [page async for page in call]
        except grpc.aio.AioRpcError as error:
            raise _account_error(error) from None
        sums = pages[0] if pages else None
        return AccountStatement(
            balance=0 if sums is None else sums.balance,
            charged=0 if sums is None else sums.charged,
            lines=[line for page in pages for line in page.lines],
        )

    async def price_tables(self, hashes: Iterable[bytes]) -> dict[bytes, SignedPriceTable]:
        """The tables that the relay has, by the SHA-256 of their bytes; unverified. Raises RelayError."""
        tables = {}
        for table_hash in hashes:
            request = GetPriceTableRequest(price_table_hash=table_hash)
            try:
                response = await self._stub.GetPriceTable(
                    request, metadata=self._relay.lease.token, timeout=_CALL_SECONDS
                )
            except grpc.aio.AioRpcError as error:
                raise _account_error(error) from None
            if response.HasField("price_table"):
                tables[table_hash] = response.price_table
        return tables


def _account_error(error: grpc.aio.AioRpcError) -> RelayError:
    if error.code() == grpc.StatusCode.UNIMPLEMENTED:
        return RelayError("the relay keeps no accounts: it has no statement to compare with")
    return relay_error(error.code(), error.details(), error.trailing_metadata())
