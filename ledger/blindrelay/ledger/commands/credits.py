"""`credit` and `voucher`: add units to an account."""

from __future__ import annotations

import argparse
from typing import Any

from blindrelay.admin.v1.admin_pb2 import (
    AddCreditRequest,
    AddVouchersRequest,
    ListVouchersRequest,
    RedeemVoucherRequest,
    RevokeVoucherRequest,
    Voucher,
)
from blindrelay.ledger.admin_channel import AdminStub
from blindrelay.ledger.commands.accounts import account_fields, account_line
from blindrelay.ledger.commands.admin_command import Shown, Subcommands, add_command, add_group
from blindrelay.ledger.commands.arguments import amount, count, day, expiry, signed_amount

PAGE = 500
"""Vouchers of one call."""


def add_credit_commands(commands: Subcommands) -> None:
    """Adds `credit`, and `voucher add | list | revoke | redeem`."""
    credit = add_command(commands, "credit", "add units to an account, once for each reference", _credit)
    credit.add_argument("account", metavar="ACCOUNT")
    credit.add_argument(
        "units", type=signed_amount, metavar="UNITS", help="units to add; negative to take back"
    )
    credit.add_argument("--reference", required=True, metavar="TEXT", help="an order's or invoice's number")
    voucher = add_group(commands, "voucher", "make, list, revoke and redeem vouchers")
    add = add_command(voucher, "add", "make vouchers and print their codes once", _add)
    add.add_argument("units", type=amount, metavar="UNITS", help="units of each voucher")
    add.add_argument("--count", type=count, default=1, metavar="N", help="number of vouchers (default: 1)")
    add.add_argument("--expires", type=expiry, default=0, metavar="WHEN", help="30d or 2030-12-31")
    add.add_argument("--reference", default="", metavar="TEXT", help="for your own records")
    add_command(voucher, "list", "print all vouchers, newest first", _list)
    revoke = add_command(voucher, "revoke", "make a voucher invalid", _revoke)
    revoke.add_argument("id", metavar="ID", help="as `voucher list` prints it")
    redeem = add_command(voucher, "redeem", "add a voucher's units to an account", _redeem)
    redeem.add_argument("account", metavar="ACCOUNT")
    redeem.add_argument("code", metavar="CODE")


def voucher_fields(voucher: Voucher) -> dict[str, Any]:
    """A voucher for --json. It cannot be redeemed with this."""
    return {
        "id": voucher.id,
        "units": voucher.units,
        "reference": voucher.reference,
        "created_at": voucher.created_at,
        "expires_at": voucher.expires_at or None,
        "redeemed_at": voucher.redeemed_at or None,
        "revoked_at": voucher.revoked_at or None,
        "account": voucher.account or None,
    }


async def _credit(stub: AdminStub, given: argparse.Namespace) -> Shown:
    request = AddCreditRequest(account=given.account, units=given.units, reference=given.reference)
    response = await stub.AddCredit(request)
    fields = {**account_fields(response.account), "repeated": response.repeated_reference}
    note = ["this reference was credited before: nothing has changed"] if response.repeated_reference else []
    return Shown(fields, [account_line(response.account), *note])


async def _add(stub: AdminStub, given: argparse.Namespace) -> Shown:
    request = AddVouchersRequest(
        units=given.units, count=given.count, expires_at=given.expires, reference=given.reference
    )
    made = await stub.AddVouchers(request)
    vouchers = [
        {"code": code, **voucher_fields(voucher)}
        for code, voucher in zip(made.codes, made.vouchers, strict=True)
    ]
    return Shown({"vouchers": vouchers}, made.codes)


async def _list(stub: AdminStub, _: argparse.Namespace) -> Shown:
    vouchers: list[Voucher] = []
    while True:
        after = vouchers[-1].id if vouchers else ""
        page = (await stub.ListVouchers(ListVouchersRequest(after=after, limit=PAGE))).vouchers
        vouchers += page
        if len(page) < PAGE:
            break
    lines = [f"{each.id}\t{each.units:,}\t{_state(each)}\t{each.reference}" for each in vouchers]
    return Shown({"vouchers": [voucher_fields(each) for each in vouchers]}, lines)


async def _revoke(stub: AdminStub, given: argparse.Namespace) -> Shown:
    voucher = (await stub.RevokeVoucher(RevokeVoucherRequest(id=given.id))).voucher
    return Shown(voucher_fields(voucher), [f"{voucher.id} is revoked"])


async def _redeem(stub: AdminStub, given: argparse.Namespace) -> Shown:
    response = await stub.RedeemVoucher(RedeemVoucherRequest(account=given.account, code=given.code))
    fields = {**account_fields(response.account), "units": response.units}
    return Shown(fields, [account_line(response.account)])


def _state(voucher: Voucher) -> str:
    if voucher.redeemed_at:
        return f"redeemed by {voucher.account} on {day(voucher.redeemed_at)}"
    if voucher.revoked_at:
        return f"revoked {day(voucher.revoked_at)}"
    return f"expires {day(voucher.expires_at)}" if voucher.expires_at else "valid"
