"""What customers ask about their own accounts, through their relay."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

import grpc

from blindrelay.ledger.async_books import AsyncBooks
from blindrelay.ledger.books import Books, InvalidError, Line, UnknownError
from blindrelay.ledger.ledger_service import DIGEST_SIZE, books_or_unavailable, decoded
from blindrelay.serving import (
    Admission,
    Callers,
    CallRefusedError,
    Context,
    first_message,
    guarded,
    write_in_time,
)
from blindrelay.v1.accounts_pb2 import (
    GetPriceTableRequest,
    GetPriceTableResponse,
    GetStatementRequest,
    GetStatementResponse,
    LineState,
    StatementLine,
)
from blindrelay.v1.grpc_profile import TOKEN_DIGEST_KEY
from blindrelay.v1.outer_status import OuterStatus
from blindrelay.v1.receipts_pb2 import SignedPriceTable, SignedReceipt

SERVICE: Final = "blindrelay.v1.AccountService"

PAGE: Final = 100
"""Lines of one message: about 60 KiB with their receipts, where a message may have 128."""


class AccountService:
    """Each call needs a relay's token and the digest of a customer's. `clock` returns Unix seconds."""

    def __init__(
        self,
        books: AsyncBooks,
        callers: Callers,
        admission: Admission,
        clock: Callable[[], float],
        on_fault: Callable[[], None],
    ) -> None:
        self._books = books
        self._callers = callers
        self._admission = admission
        self._clock = clock
        self._on_fault = on_fault

    def handler(self) -> grpc.GenericRpcHandler:
        """The service, for a gRPC server."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "GetPriceTable": grpc.stream_stream_rpc_method_handler(
                    guarded(self._get_price_table, self._on_fault)
                ),
                "GetStatement": grpc.stream_stream_rpc_method_handler(
                    guarded(self._get_statement, self._on_fault)
                ),
            },
        )

    async def _get_price_table(self, _: object, context: Context) -> None:
        with (
            self._callers.admitted(context.invocation_metadata()),
            self._admission.admit(),
            books_or_unavailable(),
        ):
            await self._account(context)
            request = decoded(GetPriceTableRequest, await first_message(context))
            table = await self._books.read(Books.price_table, request.price_table_hash)
            response = GetPriceTableResponse()
            if table is not None:
                response.price_table.CopyFrom(
                    SignedPriceTable(
                        table=table.table,
                        signature=table.signature,
                        delegation=table.delegation,
                        delegation_signature=table.delegation_signature,
                    )
                )
            await write_in_time(context, response.SerializeToString())

    async def _get_statement(self, _: object, context: Context) -> None:
        with (
            self._callers.admitted(context.invocation_metadata()),
            self._admission.admit(),
            books_or_unavailable(),
        ):
            account = await self._account(context)
            request = decoded(GetStatementRequest, await first_message(context))
            try:
                sums = await self._books.read(Books.statement, account, request.month, self._now)
            except (InvalidError, UnknownError):
                raise CallRefusedError(OuterStatus.MALFORMED) from None
            page = GetStatementResponse(balance=sums.balance, charged=sums.charged)
            async for lines in month_lines(self._books, account, request.month, self._now, PAGE):
                page.lines.extend(map(statement_line, lines))
                await write_in_time(context, page.SerializeToString())
                page = GetStatementResponse()

    async def _account(self, context: Context) -> str:
        """The name of the account. Raises CallRefusedError: UNAUTHENTICATED."""
        shown = [value for key, value in context.invocation_metadata() or () if key == TOKEN_DIGEST_KEY]
        if len(shown) == 1 and isinstance(shown[0], bytes) and len(shown[0]) == DIGEST_SIZE:
            try:
                return (await self._books.do(Books.token_of, shown[0], self._now)).account
            except UnknownError:
                pass
        raise CallRefusedError(OuterStatus.UNAUTHENTICATED)

    @property
    def _now(self) -> int:
        return int(self._clock())


async def month_lines(
    books: AsyncBooks, account: str | None, month: str, now: int, page: int
) -> AsyncIterator[tuple[Line, ...]]:
    """The lines of an account's month, or of all accounts, in pages. The first page may be empty."""
    lines = await books.read(Books.lines, account, month, now, limit=page)
    yield lines
    while len(lines) == page:
        lines = await books.read(Books.lines, account, month, now, after=lines[-1].number, limit=page)
        if lines:
            yield lines


def statement_line(line: Line) -> StatementLine:
    """A statement's line as a message."""
    message = StatementLine(
        envelope_hash=line.envelope_hash,
        at=line.at,
        state=LineState.ValueType(line.state),
        units=line.units,
        token=line.token,
        delegation=line.delegation,
        delegation_signature=line.delegation_signature,
    )
    if line.receipt:
        message.receipt.CopyFrom(SignedReceipt(receipt=line.receipt, signature=line.signature))
    return message
