"""A scripted bridge that keeps bills, and serves a relay's statement of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import grpc

from blindrelay.testbed.billing_bridge import BillingBridge
from blindrelay.trust import SignedDelegation, sign_price_table, sign_receipt
from blindrelay.v1.accounts_pb2 import (
    GetPriceTableRequest,
    GetPriceTableResponse,
    GetStatementRequest,
    GetStatementResponse,
    LineState,
    StatementLine,
)
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.inner_pb2 import BodyEnd, ErrorCode, ExchangeError, Execution, ResponseTail
from blindrelay.v1.receipts_pb2 import Receipt, SignedReceipt
from blindrelay.v1.units import rounded_units

from .scripted_bridge import Context, Received, Responder, Response, ScriptedBridge, head


@dataclass
class ChargingBridge(ScriptedBridge):
    """Each exchange costs two units for each of the output tokens that it is told to have had.

    Attributes:
        lines: of the statement that it serves, one for each receipt; tests falsify them.
        months: the months that were asked for.
        keeps_accounts: whether the relay has a ledger.
        serves_any_table: whether it serves its present price table for any other.
    """

    output: int = 10
    lines: list[StatementLine] = field(default_factory=list)
    months: list[str] = field(default_factory=list)
    keeps_accounts: bool = True
    serves_any_table: bool = False

    def __post_init__(self) -> None:
        self.bills = BillingBridge()
        super().__post_init__()
        self.answer = self.charge()

    def restart_keys(self) -> None:
        super().restart_keys()
        self.bills.identity, self.bills.signer = self.identity, self.signer
        self.bills.table.identity = self.identity.public_key
        self.new_prices()

    def new_prices(self, unit: str = "10 µUSD") -> None:
        """Another price table."""
        self.bills.table.unit = unit
        self.price_table_hash = self.bills.table_hash

    def charge(self, *steps: dict[str, Any]) -> Response:
        """Answers, with a bill in the tail."""

        async def answer(received: Received, respond: Responder) -> None:
            for step in steps or ({"head": head(), "body": b"{}"},):
                await respond.send(**step)
            receipt, statement = self._bill(received, respond)
            tail = ResponseTail(body_end=BodyEnd.BODY_END_CHUNKED, receipt=receipt, statement=statement)
            await respond.send(tail=tail)

        return answer

    def cut(self) -> Response:
        """Begins to answer and breaks off. The receipt goes to the relay alone."""

        async def answer(received: Received, respond: Responder) -> None:
            self._bill(received, respond)
            await respond.send(head=head())

        return answer

    def refuse_price(self) -> Response:
        """Answers only those who know the present price table."""
        honest = self.charge()

        async def answer(received: Received, respond: Responder) -> None:
            if received.head.price_table_hash == self.bills.table_hash:
                await honest(received, respond)
                return
            changed, not_started = ErrorCode.ERROR_CODE_PRICE_CHANGED, Execution.EXECUTION_NOT_STARTED
            error = ExchangeError(code=changed, execution=not_started, message="other prices")
            await respond.send(error=error)

        return answer

    def fail(self, code: ErrorCode.ValueType) -> Response:
        """Fails after the provider was asked, with a bill in the error."""

        async def answer(received: Received, respond: Responder) -> None:
            receipt, statement = self._bill(received, respond)
            started = Execution.EXECUTION_STARTED
            error = ExchangeError(code=code, execution=started, receipt=receipt, statement=statement)
            await respond.send(error=error)

        return answer

    def _bill(self, received: Received, respond: Responder) -> tuple[SignedReceipt, bytes]:
        envelope = received.metadata[METADATA_KEY]
        issued_at = Envelope.FromString(envelope).issued_at
        statement = self.bills.statement(self.output)
        coin = respond.exchange.rounding_coin
        units = rounded_units(statement.cost, statement.rounding, coin, 1_000_000)
        kept = self.bills.receipt(envelope, statement, units=units, ended_at=issued_at)
        delegation = self._delegation(issued_at)
        self.lines.append(
            StatementLine(
                envelope_hash=hashlib.sha256(envelope).digest(),
                at=issued_at // 60 * 60,
                state=LineState.LINE_STATE_POSTED,
                units=units,
                token="laptop",
                receipt=kept.signed,
                delegation=delegation.delegation,
                delegation_signature=delegation.signature,
            )
        )
        return kept.signed, kept.statement

    def another_receipt(self, line: StatementLine, **changes: int) -> SignedReceipt:
        """What the bridge signs if it equivocates."""
        receipt = Receipt.FromString(line.receipt.receipt)
        for name, value in changes.items():
            setattr(receipt, name, value)
        return sign_receipt(receipt, self.signer)

    def _delegation(self, now: int) -> SignedDelegation:
        return self.identity.delegate(self.signer.public_key, now - 60, now + 86_400)

    def _handlers(self) -> list[grpc.GenericRpcHandler]:
        if not self.keeps_accounts:
            return super()._handlers()
        services: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "GetStatement": grpc.unary_stream_rpc_method_handler(
                self._statement, GetStatementRequest.FromString, GetStatementResponse.SerializeToString
            ),
            "GetPriceTable": grpc.unary_unary_rpc_method_handler(
                self._table, GetPriceTableRequest.FromString, GetPriceTableResponse.SerializeToString
            ),
        }
        accounts = grpc.method_handlers_generic_handler("blindrelay.v1.AccountService", services)
        return [*super()._handlers(), accounts]

    async def _statement(self, request: GetStatementRequest, context: Context) -> None:
        await self._authenticate(context)
        self.months.append(request.month)
        charged = sum(line.units for line in self.lines)
        pages = [self.lines[start : start + 2] for start in range(0, len(self.lines), 2)] or [[]]
        for number, lines in enumerate(pages):
            sums = {"balance": 1_000 - charged, "charged": charged} if number == 0 else {}
            await context.write(GetStatementResponse(lines=lines, **sums))

    async def _table(self, request: GetPriceTableRequest, context: Context) -> GetPriceTableResponse:
        await self._authenticate(context)
        if request.price_table_hash != self.bills.table_hash and not self.serves_any_table:
            return GetPriceTableResponse()
        encoded = self.bills.signed_table.table
        valid_from = self.bills.table.valid_from
        table = sign_price_table(encoded, self.signer, self._delegation(valid_from + 60))
        return GetPriceTableResponse(price_table=table)
