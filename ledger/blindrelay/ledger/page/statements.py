"""An account's statement on a page, and as a CSV file."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from google.protobuf.message import DecodeError
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from blindrelay.admin.v1.admin_pb2 import CreditLine, GetStatementRequest, GetStatementResponse
from blindrelay.ledger.page.responses import clock
from blindrelay.ledger.page.site import Visit
from blindrelay.v1.accounts_pb2 import LineState, StatementLine
from blindrelay.v1.receipts_pb2 import Basis, Receipt, SignedReceipt

SHOWN_LINES: Final = 200
"""Lines of a statement on a page, the newest of the month. The CSV file has all."""

LISTED_MONTHS: Final = 12
"""Months to choose from. Older ones are in the address: ?month=2026-01."""

_MONTH: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])")

_STATES: Final = {
    LineState.LINE_STATE_RESERVED: "running",
    LineState.LINE_STATE_POSTED: "charged",
    LineState.LINE_STATE_VOIDED: "not charged",
    LineState.LINE_STATE_LAPSED: "no receipt yet",
}

_BASES: Final = {
    Basis.BASIS_NOT_STARTED: "not started",
    Basis.BASIS_METERED: "metered",
    Basis.BASIS_ESTIMATED: "estimated",
}


@dataclass(frozen=True)
class Line:
    """One line, in words.

    Attributes:
        at: Unix seconds.
        token: the token's name.
        exchange: the envelope's hash in hexadecimal.
        state: "running", "charged", "not charged" or "no receipt yet".
        basis: of the units; empty without a receipt.
        units: what was charged.
    """

    at: int
    token: str
    exchange: str
    state: str
    basis: str
    units: int

    @classmethod
    def of(cls, line: StatementLine) -> Line:
        """The line of a statement."""
        state = _STATES.get(line.state, "unknown")
        basis = basis_of(line.receipt) if line.HasField("receipt") else ""
        return cls(line.at, line.token, line.envelope_hash.hex(), state, basis, line.units)


@dataclass(frozen=True)
class Statement:
    """The sums of an account and the newest lines of a month, newest first.

    Attributes:
        month: "YYYY-MM".
        months: the months to choose from, newest first.
        balance: units, of all time.
        charged: units, of the month.
        lines: at most SHOWN_LINES.
        credits: what was added and taken back, at most SHOWN_LINES.
        has_more: whether the month has more lines.
    """

    month: str
    months: list[str]
    balance: int
    charged: int
    lines: list[Line]
    credits: list[CreditLine]
    has_more: bool


async def read_statement(visit: Visit, account: str) -> Statement:
    """The statement that a page shows. Raises HTTPException for a malformed month in the address."""
    month = _month(visit)
    sums = GetStatementResponse()
    lines: list[Line] = []
    added: list[CreditLine] = []
    asked = GetStatementRequest(account=account, month=month, newest=SHOWN_LINES + 1)
    async for page in visit.calls.stream(visit.admin.GetStatement, asked):
        if not (lines or added):
            sums = page
        lines.extend(map(Line.of, page.lines))
        added.extend(page.credits)
    return Statement(
        month,
        _months(visit.now, month),
        sums.balance,
        sums.charged,
        lines[:SHOWN_LINES],
        added[:SHOWN_LINES],
        len(lines) > SHOWN_LINES,
    )


async def csv_response(visit: Visit, account: str) -> Response:
    """All lines of a month as a CSV file, oldest first."""
    month = _month(visit)
    asked = GetStatementRequest(account=account, month=month)
    pages = visit.calls.stream(visit.admin.GetStatement, asked)
    first = await anext(pages, None)  # an error is still a page

    async def rows() -> AsyncIterator[str]:
        yield _csv_row("time_utc", "kind", "token", "exchange", "basis", "units", "reference")
        if first is not None:
            yield _csv_page(first)
        async for page in pages:
            yield _csv_page(page)

    name = f'attachment; filename="{account}-{month}.csv"'
    return StreamingResponse(rows(), headers={"content-disposition": name}, media_type="text/csv")


def _csv_page(page: GetStatementResponse) -> str:
    credit_rows = (
        _csv_row(clock(each.at), "credit", "", "", "", each.units, each.reference) for each in page.credits
    )
    lines = map(Line.of, page.lines)
    line_rows = (
        _csv_row(clock(each.at), each.state, each.token, each.exchange, each.basis, each.units, "")
        for each in lines
    )
    return "".join((*credit_rows, *line_rows))


def _csv_row(*cells: object) -> str:
    text = io.StringIO()
    csv.writer(text).writerow([_harmless(cell) for cell in cells])
    return text.getvalue()


def _harmless(cell: object) -> object:
    """Text that a spreadsheet does not run as a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _month(visit: Visit) -> str:
    month = visit.request.query_params.get("month") or f"{datetime.fromtimestamp(visit.now, UTC):%Y-%m}"
    if not _MONTH.fullmatch(month):
        raise HTTPException(400, "A month is written as 2026-11.")
    return month


def _months(now: float, chosen: str) -> list[str]:
    """The latest months and the one that is shown, newest first."""
    today = datetime.fromtimestamp(now, UTC)
    count = today.year * 12 + today.month - 1
    months = {f"{each // 12}-{each % 12 + 1:02}" for each in range(count - LISTED_MONTHS + 1, count + 1)}
    return sorted({*months, chosen}, reverse=True)


def basis_of(receipt: SignedReceipt) -> str:
    """A receipt's basis, in words."""
    try:
        return _BASES.get(Receipt.FromString(receipt.receipt).basis, "unknown")
    except DecodeError:
        return "unknown"
