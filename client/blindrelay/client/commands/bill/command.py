"""`blindrelay bill`: what this client was charged, and whether the relay's statement agrees."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from blindrelay.client.account import Account, AccountStatement
from blindrelay.client.bill import parsed
from blindrelay.client.bill_journal import (
    BillJournal,
    KeptExchange,
    journal_file,
    key_name,
    read_journal,
)
from blindrelay.client.commands.bill.comparison import Comparison, Kept, compare
from blindrelay.client.commands.bill.items import items_of
from blindrelay.client.commands.bill.report import bill_csv, bill_json, bill_text
from blindrelay.client.commands.bill.verify_report import verify_json, verify_text
from blindrelay.client.commands.exit_codes import ExitCode
from blindrelay.client.commands.options import connection_of, json_option, print_either, relay_option
from blindrelay.client.commands.terminal import waiting
from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.errors import ConfigurationError
from blindrelay.client.history_store import STATE_VARIABLE
from blindrelay.trust import TrustError, verify_price_table
from blindrelay.v1.receipts_pb2 import PriceTable, Receipt, SignedPriceTable

_MONTH: Final = re.compile(r"20\d\d-(0[1-9]|1[0-2])")


def _month(context: click.Context, option: click.Parameter, month: str | None) -> str | None:
    if month is None or _MONTH.fullmatch(month):
        return month
    raise click.BadParameter(f"{month!r} is not a month such as 2026-11")


_month_option = click.option("--month", metavar="YYYY-MM", callback=_month, help="Only this month, in UTC.")


@click.group(invoke_without_command=True)
@_month_option
@click.option("--each", is_flag=True, help="A row for each exchange, with what was counted.")
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, for spreadsheets.")
@click.pass_context
def bill(context: click.Context, month: str | None, each: bool, as_json: bool, as_csv: bool) -> None:
    """Show what exchanges cost, per day, model and key, by the bridge's statements.

    Units are what was charged: the bridge rounds each exchange's cost at random, so that the relay does not
    learn it. The exact cost is what they average to. A key is named by the first 8 digits of its SHA-256.

    \b
    Examples:
      blindrelay bill
      blindrelay bill --month 2026-11 --csv
      blindrelay bill --each --json | jq '.rows[] | select(.basis == "estimated")'
      blindrelay bill verify

    \b
    Exit codes:
      0    done; the relay's statement agrees
      1    the relay's statement differs
      2    wrong input
      3    the relay was not reached, refused, or keeps no accounts
      130  interrupted
    """
    if context.invoked_subcommand is not None:
        return
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    exchanges = _kept()
    items = items_of(exchanges, month)
    refused = sum(bool(kept.refusal) and not kept.receipts for kept in exchanges.values())
    if as_csv:
        click.echo(bill_csv(items, each), nl=False)
    else:
        print_either(
            as_json, lambda: bill_json(items, refused, each), lambda: bill_text(items, refused, each)
        )


@bill.command(short_help="Compare with the relay's statement, and print the proof of each difference.")
@_month_option
@relay_option
@json_option
def verify(month: str | None, relay: str | None, as_json: bool) -> int:
    """Compare what this client keeps with the relay's statement of a month, by default the present one.

    Receipts are checked against the bridge's identity, units against the envelope and against the statement
    and the price table that they follow from. Receipts that only the relay has are checked and kept.

    \b
    Examples:
      blindrelay bill verify
      blindrelay bill verify --month 2026-10 --json > differences.json

    Exit codes: 0 the statement agrees, 1 it differs, 2 wrong input, 3 no relay, or it keeps no accounts,
    130 interrupted.
    """
    connection = connection_of(relay)
    now = int(time.time())
    compared = month or time.strftime("%Y-%m", time.gmtime(now))
    exchanges = _kept()
    with waiting(f"asking {connection.target}"):
        statement, tables = asyncio.run(_asked(connection, compared, exchanges))
    own = Kept(exchanges, _verified(tables, exchanges), connection.target, key_name(connection.token or ""))
    result = compare(statement, own, compared, now)
    _keep(result, connection)
    print_either(as_json, lambda: verify_json(result), lambda: verify_text(result))
    return ExitCode.NO if result.differences else ExitCode.DONE


def _kept() -> dict[bytes, KeptExchange]:
    path = _journal()
    try:
        return read_journal(path)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None


def _journal() -> Path:
    path = journal_file()
    if path is None:
        raise ConfigurationError(f"no home directory, so no bills are kept: set {STATE_VARIABLE}")
    return path


async def _asked(
    connection: ConnectionConfig, month: str, exchanges: Mapping[bytes, KeptExchange]
) -> tuple[AccountStatement, dict[bytes, SignedPriceTable]]:
    """The relay's statement, and the price tables that this client's receipts follow."""
    async with Account(connection) as account:
        statement = await account.statement(month)
        return statement, await account.price_tables(_receipts_by_table(exchanges))


def _receipts_by_table(exchanges: Mapping[bytes, KeptExchange]) -> dict[bytes, Receipt]:
    """For each price table, by its hash, one of the receipts with a statement."""
    receipts = (
        parsed(Receipt, kept.signed.receipt)
        for exchange in exchanges.values()
        for kept in exchange.receipts
        if kept.statement
    )
    return {receipt.price_table_hash: receipt for receipt in receipts if receipt is not None}


def _verified(
    tables: Mapping[bytes, SignedPriceTable], exchanges: Mapping[bytes, KeptExchange]
) -> dict[bytes, PriceTable]:
    """The tables that match the hashes in the receipts, signed by the receipts' bridge."""
    verified = {}
    for table_hash, receipt in _receipts_by_table(exchanges).items():
        signed = tables.get(table_hash)
        if signed is None or hashlib.sha256(signed.table).digest() != table_hash:
            continue
        try:
            verified[table_hash] = verify_price_table(signed, receipt.identity)
        except TrustError:
            continue
    return verified


def _keep(result: Comparison, connection: ConnectionConfig) -> None:
    """Keeps receipts that only the relay had."""
    if connection.bills:
        journal = BillJournal(_journal(), connection.target, connection.token)
        for envelope_hash, receipt in result.found.items():
            journal.ended(envelope_hash, receipt)
