"""`account` and `limit`: who has an account, and what it may use."""

from __future__ import annotations

import argparse
from typing import Any, Final

from google.protobuf.field_mask_pb2 import FieldMask

from blindrelay.admin.v1.admin_pb2 import (
    PERIOD_DAY,
    PERIOD_MONTH,
    PERIOD_UNSPECIFIED,
    Account,
    AddAccountRequest,
    GetAccountRequest,
    Limits,
    ListAccountsRequest,
    Period,
    Quota,
    SetLimitsRequest,
    UpdateAccountRequest,
)
from blindrelay.ledger.admin_channel import AdminStub
from blindrelay.ledger.commands.admin_command import Shown, Subcommands, add_command, add_group
from blindrelay.ledger.commands.arguments import amount_or_none, day, expiry, rate_or_none
from blindrelay.serving import ConfigError

PAGE: Final = 500
"""Accounts of one call."""

PERIODS: Final = {"day": PERIOD_DAY, "month": PERIOD_MONTH, "ever": PERIOD_UNSPECIFIED}
QUOTAS: Final = ("units", "exchanges", "bytes")
NUMBERS: Final = ("concurrent", "max_units", "overdraft", "burst")


def add_account_commands(commands: Subcommands) -> None:
    """Adds `account add | list | show | enable | disable`, and `limit set`."""
    account = add_group(commands, "account", "add, list, show, enable and disable accounts")
    add = add_command(account, "add", "make an account, without units", _add)
    add.add_argument("account", metavar="NAME", help="letters, digits and . _ -")
    add.add_argument("--expires", type=expiry, default=0, metavar="WHEN", help="30d or 2030-12-31")
    add_command(account, "list", "print all accounts with their balances", _list)
    for name, summary, run in (
        ("show", "print an account's balance, limits and use", _show),
        ("enable", "let an account start exchanges again", _enable),
        ("disable", "stop an account: no new exchanges, and running ones end", _disable),
    ):
        add_command(account, name, summary, run).add_argument("account", metavar="ACCOUNT")
    _add_limit(commands)


def account_fields(account: Account) -> dict[str, Any]:
    """An account for --json."""
    return {
        "account": account.name,
        "enabled": account.enabled,
        "balance": account.balance,
        "charged": account.charged,
        "outstanding": account.outstanding,
        "overdraft_bound": account.overdraft_bound,
        "created_at": account.created_at,
        "expires_at": account.expires_at or None,
        "limits": limit_fields(account.limits),
        "uses": {use.quota: {"used": use.used, "resets_at": use.resets_at} for use in account.uses},
    }


def limit_fields(limits: Limits) -> dict[str, Any]:
    """The limits that are set, for --json."""
    names = {int(number): name for name, number in PERIODS.items()}
    return {
        field.name: {"amount": value.amount, "per": names.get(value.per)} if field.message_type else value
        for field, value in limits.ListFields()
    }


def limit_lines(limits: Limits) -> list[str]:
    """The limits that are set, for people."""
    return [f"limit {name}: {_limit_text(name, value)}" for name, value in limit_fields(limits).items()]


def _limit_text(name: str, value: Any) -> str:
    if name in QUOTAS:
        amount, per = f"{value['amount']:,}", value["per"]
        return amount if per == "ever" else f"{amount} per {per}"
    return f"{value:g}/s" if name == "rate" else f"{value:,}"


def account_line(account: Account) -> str:
    """An account for people."""
    state = "enabled" if account.enabled else "disabled"
    return (
        f"{account.name}\t{state}\tbalance {account.balance:,}\tcharged {account.charged:,}\t"
        f"outstanding {account.outstanding:,}\toverdraft bound {account.overdraft_bound:,}"
    )


def _shown(account: Account) -> Shown:
    return Shown(account_fields(account), [account_line(account)])


async def _add(stub: AdminStub, given: argparse.Namespace) -> Shown:
    request = AddAccountRequest(name=given.account, expires_at=given.expires)
    return _shown((await stub.AddAccount(request)).account)


async def _list(stub: AdminStub, _: argparse.Namespace) -> Shown:
    accounts: list[Account] = []
    while True:
        after = accounts[-1].name if accounts else ""
        page = (await stub.ListAccounts(ListAccountsRequest(after=after, limit=PAGE))).accounts
        accounts += page
        if len(page) < PAGE:
            break
    return Shown({"accounts": [account_fields(each) for each in accounts]}, map(account_line, accounts))


async def _show(stub: AdminStub, given: argparse.Namespace) -> Shown:
    account = (await stub.GetAccount(GetAccountRequest(account=given.account))).account
    lines = [account_line(account)]
    lines += limit_lines(account.limits)
    lines += [f"used of {use.quota}: {use.used:,}, until {day(use.resets_at)}" for use in account.uses]
    return Shown(account_fields(account), lines)


async def _enable(stub: AdminStub, given: argparse.Namespace) -> Shown:
    request = UpdateAccountRequest(account=given.account, enabled=True)
    return _shown((await stub.UpdateAccount(request)).account)


async def _disable(stub: AdminStub, given: argparse.Namespace) -> Shown:
    request = UpdateAccountRequest(account=given.account, enabled=False)
    return _shown((await stub.UpdateAccount(request)).account)


def _add_limit(commands: Subcommands) -> None:
    limit = add_group(commands, "limit", "set what an account may use")
    command = add_command(limit, "set", "set the limits that are given; none removes one", _set)
    command.add_argument("account", metavar="ACCOUNT")
    nothing = argparse.SUPPRESS
    for name, text in (
        ("units", "units per period"),
        ("exchanges", "exchanges per period"),
        ("bytes", "sealed bytes per period"),
        ("concurrent", "exchanges at once (default: 100)"),
        ("max-units", "units of one exchange (default: 1000000)"),
        ("overdraft", "units that the balance may fall below 0"),
        ("burst", "exchanges that may start at once within the rate"),
    ):
        command.add_argument(f"--{name}", type=amount_or_none, default=nothing, metavar="N", help=text)
    command.add_argument("--rate", type=rate_or_none, default=nothing, metavar="N/s", help="exchanges")
    command.add_argument(
        "--per",
        choices=PERIODS,
        default="month",
        help="the period of units, exchanges, bytes (default: month)",
    )


async def _set(stub: AdminStub, given: argparse.Namespace) -> Shown:
    names = [name for name in (*QUOTAS, *NUMBERS, "rate") if hasattr(given, name)]
    if not names:
        raise ConfigError("limit set needs a limit to set, such as --units 1000000 --per month")
    limits = Limits()
    for name in names:
        _put(limits, name, getattr(given, name), PERIODS[given.per])
    request = SetLimitsRequest(account=given.account, limits=limits, mask=FieldMask(paths=names))
    account = (await stub.SetLimits(request)).account
    return Shown(account_fields(account), [account_line(account), *limit_lines(account.limits)])


def _put(limits: Limits, name: str, value: float | None, per: Period.ValueType) -> None:
    if value is None:
        return  # in the mask and absent: removed
    if name in QUOTAS:
        getattr(limits, name).CopyFrom(Quota(amount=int(value), per=per))
    else:
        setattr(limits, name, value)
