"""`statement`, `check` and `export`: what the books say."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from blindrelay.admin.v1.admin_pb2 import CheckRequest, CreditLine, ExportRequest, GetStatementRequest
from blindrelay.ledger.admin_channel import AdminStub
from blindrelay.ledger.commands.admin_command import Shown, Subcommands, add_command
from blindrelay.ledger.commands.arguments import minute, month
from blindrelay.serving import ConfigError
from blindrelay.v1.accounts_pb2 import LineState, StatementLine

STATES: Final = {
    LineState.LINE_STATE_RESERVED: "reserved",
    LineState.LINE_STATE_POSTED: "posted",
    LineState.LINE_STATE_VOIDED: "voided",
    LineState.LINE_STATE_LAPSED: "lapsed",
}


def add_report_commands(commands: Subcommands) -> None:
    """Adds `statement`, `check` and `export`."""
    statement = add_command(commands, "statement", "print an account's exchanges of one month", _statement)
    statement.add_argument("account", metavar="ACCOUNT")
    add_command(commands, "check", "check that the books balance", _check)
    export = add_command(commands, "export", "print every account's exchanges, with the receipts", _export)
    export.add_argument("--csv", action="store_true", help="print CSV, one line for each exchange")
    for command, default in ((statement, "the present one"), (export, "all")):
        command.add_argument("--month", type=month, metavar="YYYY-MM", help=f"(default: {default})")


def line_fields(line: StatementLine) -> dict[str, Any]:
    """A line for --json. Bytes are in hexadecimal."""
    return {
        "exchange": line.envelope_hash.hex(),
        "at": line.at,
        "state": STATES[line.state],
        "units": line.units,
        "token": line.token,
        "receipt": line.receipt.receipt.hex(),
        "signature": line.receipt.signature.hex(),
        "delegation": line.delegation.hex(),
        "delegation_signature": line.delegation_signature.hex(),
    }


def _credit_fields(line: CreditLine) -> dict[str, Any]:
    return {"at": line.at, "units": line.units, "reference": line.reference}


async def _statement(stub: AdminStub, given: argparse.Namespace) -> Shown:
    sums: dict[str, int] = {}
    lines: list[dict[str, Any]] = []
    credited: list[dict[str, Any]] = []
    async for page in stub.GetStatement(GetStatementRequest(account=given.account, month=given.month or "")):
        sums = sums or {
            "balance": page.balance,
            "charged": page.charged,
            "overdraft_bound": page.overdraft_bound,
        }
        lines += map(line_fields, page.lines)
        credited += map(_credit_fields, page.credits)
    return Shown(
        {"account": given.account, **sums, "lines": lines, "credits": credited},
        _statement_lines(sums, lines, credited),
    )


def _statement_lines(
    sums: dict[str, int], lines: list[dict[str, Any]], credited: list[dict[str, Any]]
) -> Iterator[str]:
    yield "  ".join(f"{name.replace('_', ' ')} {units:,}" for name, units in sums.items())
    for line in credited:
        yield f"{minute(line['at'])}  {line['units']:>12,}  credit  {line['reference']}"
    for line in lines:
        about = f"{line['state']}  {line['exchange'][:16]}  {line['token']}"
        yield f"{minute(line['at'])}  {-line['units']:>12,}  {about}"


async def _check(stub: AdminStub, _: argparse.Namespace) -> Shown:
    found = await stub.Check(CheckRequest())
    fields: dict[str, Any] = {
        "balanced": found.balanced,
        "open": found.open,
        "orphans": found.orphans,
        "contradictions": found.contradictions,
    }
    lines = [f"{name}: {value}" for name, value in fields.items()]
    if not found.balanced:
        fields["problems"] = list(found.problems)
        lines += found.problems
    return Shown(fields, lines, exit_code=0 if found.balanced else 1)


async def _export(stub: AdminStub, given: argparse.Namespace) -> Shown:
    """Prints while it reads: a year may not fit into memory."""
    found = _exported(stub, given.month or "")
    if given.csv:
        if given.json:
            raise ConfigError("export prints either JSON or CSV: leave --json or --csv out")
        await _print_csv(found)
    elif given.json:
        await _print_json(found)
    else:
        async for line in found:
            _write(
                f"{line['account']}\t{minute(line['at'])}\t{line['state']}\t{line['units']}\t{line['exchange']}\n"
            )
    return Shown(None, [])


async def _exported(stub: AdminStub, wanted: str) -> AsyncIterator[dict[str, Any]]:
    async for page in stub.Export(ExportRequest(month=wanted)):
        for each in page.lines:
            yield {"account": each.account, **line_fields(each.line)}


async def _print_json(found: AsyncIterator[dict[str, Any]]) -> None:
    separator = ""
    _write('{"lines": [')
    async for line in found:
        _write(f"{separator}\n{json.dumps(line)}")
        separator = ","
    _write("]}\n")


async def _print_csv(found: AsyncIterator[dict[str, Any]]) -> None:
    empty = {"account": "", **line_fields(StatementLine(state=LineState.LINE_STATE_RESERVED))}
    writer = csv.DictWriter(sys.stdout, list(empty), lineterminator="\n")
    writer.writeheader()
    async for line in found:
        writer.writerow(line)


def _write(text: str) -> None:
    sys.stdout.write(text)
