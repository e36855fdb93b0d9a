"""The end of the demo: what the exchange cost, as the relay has it and as the client has it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from blindrelay.testbed.demo.report import heading, print_party
from blindrelay.testbed.errors import TestbedError

if TYPE_CHECKING:
    from blindrelay.client import Bill
    from blindrelay.v1.accounts_pb2 import StatementLine

SETTLING_SECONDS: Final = 60.0
"""Seconds for the receipt to reach the ledger. It takes milliseconds."""

_LOOK_SECONDS: Final = 0.05


def print_bill(bill: Bill, connection: str) -> None:
    """Asks the relay for its statement, and prints both sides. Raises TestbedError, BlindRelayError."""
    line = _settled_line(bill, connection)
    print("\n" + heading("What it cost"))
    print_party("relay", "the bridge's receipt, as the relay's ledger has it:", *_receipt(line))
    print_party("client", "the bridge's statement, sealed to the client:", *_statement(bill))


def _settled_line(bill: Bill, connection: str) -> StatementLine:
    deadline = time.monotonic() + SETTLING_SECONDS
    while time.monotonic() < deadline:
        for line in asyncio.run(_lines(connection)):
            if line.envelope_hash == bill.envelope_hash and line.receipt.receipt:
                return line
        time.sleep(_LOOK_SECONDS)
    raise TestbedError(f"the ledger has no receipt for the exchange after {SETTLING_SECONDS:.0f} s")


async def _lines(connection: str) -> list[StatementLine]:
    from blindrelay.client.account import Account
    from blindrelay.client.connection_config import ConnectionConfig

    async with Account(ConnectionConfig.from_string(connection)) as account:
        return (await account.statement("")).lines


def _receipt(line: StatementLine) -> Iterator[str]:
    from blindrelay.v1.receipts_pb2 import Basis, Receipt

    receipt = Receipt.FromString(line.receipt.receipt)
    ended = time.strftime("%H:%M:%S", time.localtime(receipt.ended_at))
    yield f"exchange     {receipt.envelope_hash.hex()[:16]} …, of the account's token {line.token!r}"
    yield f"units        {receipt.units:,}, rounded by a coin that the relay cannot know"
    yield f"basis        {Basis.Name(receipt.basis).removeprefix('BASIS_').lower()}"
    yield f"prices       {receipt.price_table_hash.hex()[:16]} …, the public table's hash"
    yield f"statement    {receipt.statement_hash.hex()[:16]} …, a hash that tells nothing"
    yield f"ended        {ended}, in steps of 10 s"
    yield f"signature    {line.receipt.signature.hex()[:16]} …, by the bridge"


def _statement(bill: Bill) -> Iterator[str]:
    from blindrelay.v1.limits import MILLIONTHS
    from blindrelay.v1.receipts_pb2 import Measure

    statement = bill.statement
    if statement is None:
        raise TestbedError("the response had no statement")
    yield f"model        {statement.model}, at {statement.provider}"
    for count in statement.counts:
        name = Measure.Name(count.measure).removeprefix("MEASURE_").lower().replace("_", " ")
        yield f"{name:<12} {count.amount:,}"
    yield f"exact cost   {statement.cost / MILLIONTHS:,.6f} units, by row {statement.row} of the price table"
    yield f"charged      {bill.units:,} units; the average follows the exact cost"
