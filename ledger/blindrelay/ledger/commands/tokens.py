"""`token`: the tokens that customers show to the relay."""

from __future__ import annotations

import argparse
from typing import Any

from blindrelay.admin.v1.admin_pb2 import (
    GetAccountRequest,
    IssueTokenRequest,
    RevokeTokenRequest,
    RotateTokenRequest,
    Scope,
    Token,
)
from blindrelay.ledger.admin_channel import AdminStub
from blindrelay.ledger.commands.admin_command import Shown, Subcommands, add_command, add_group
from blindrelay.ledger.commands.arguments import day, expiry


def add_token_commands(commands: Subcommands) -> None:
    """Adds `token issue | rotate | revoke | list`."""
    token = add_group(commands, "token", "issue, rotate, revoke and list customers' tokens")
    issue = add_command(token, "issue", "make a token and print it once", _issue)
    issue.add_argument("account", metavar="ACCOUNT")
    issue.add_argument(
        "--name", default="", metavar="NAME", help="its name in statements: letters, digits and . _ -"
    )
    issue.add_argument("--expires", type=expiry, default=0, metavar="WHEN", help="30d or 2030-12-31")
    for option, metavar, text in (
        ("--bridge", "br1…", "allow this bridge; may be repeated"),
        ("--class", "CLASS", "allow this service class; may be repeated"),
        ("--address", "NETWORK", "allow clients of this network; may be repeated"),
    ):
        issue.add_argument(
            option, dest=option.strip("-"), action="append", default=[], metavar=metavar, help=text
        )
    rotate = add_command(token, "rotate", "revoke a token, and make another instead", _rotate)
    revoke = add_command(token, "revoke", "make a token invalid, and end its exchanges", _revoke)
    for command in (rotate, revoke):
        command.add_argument("id", metavar="ID", help="as `token list` prints it")
    add_command(token, "list", "print an account's tokens", _list).add_argument("account", metavar="ACCOUNT")


def token_fields(token: Token) -> dict[str, Any]:
    """A token for --json. It cannot be used to call."""
    return {
        "id": token.id,
        "name": token.name,
        "created_at": token.created_at,
        "expires_at": token.expires_at or None,
        "revoked_at": token.revoked_at or None,
        "last_used": token.last_used or None,
        "bridges": list(token.scope.bridges),
        "classes": list(token.scope.classes),
        "addresses": list(token.scope.addresses),
    }


async def _issue(stub: AdminStub, given: argparse.Namespace) -> Shown:
    scope = Scope(bridges=given.bridge, classes=vars(given)["class"], addresses=given.address)
    request = IssueTokenRequest(account=given.account, name=given.name, expires_at=given.expires, scope=scope)
    made = await stub.IssueToken(request)
    return Shown({"token": made.token, **token_fields(made.issued)}, [made.token])


async def _rotate(stub: AdminStub, given: argparse.Namespace) -> Shown:
    made = await stub.RotateToken(RotateTokenRequest(id=given.id))
    return Shown({"token": made.token, **token_fields(made.issued)}, [made.token])


async def _revoke(stub: AdminStub, given: argparse.Namespace) -> Shown:
    token = (await stub.RevokeToken(RevokeTokenRequest(id=given.id))).token
    return Shown(token_fields(token), [f"{token.id} is revoked"])


async def _list(stub: AdminStub, given: argparse.Namespace) -> Shown:
    tokens = (await stub.GetAccount(GetAccountRequest(account=given.account))).tokens
    lines = [f"{each.id}\t{each.name}\t{_state(each)}\tlast used {day(each.last_used)}" for each in tokens]
    return Shown({"tokens": [token_fields(each) for each in tokens]}, lines)


def _state(token: Token) -> str:
    if token.revoked_at:
        return f"revoked {day(token.revoked_at)}"
    return f"expires {day(token.expires_at)}" if token.expires_at else "valid"
