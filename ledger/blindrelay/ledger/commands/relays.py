"""`relay`: the relays that may report to this ledger. Their tokens are in a file, as a bridge's are."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from blindrelay.ledger.commands.admin_command import Subcommands, add_group
from blindrelay.ledger.config import read_ledger_config
from blindrelay.serving import issue_token, list_tokens, revoke_token


def add_relay_commands(commands: Subcommands) -> None:
    """Adds `relay add | remove | list`."""
    relay = add_group(commands, "relay", "let relays report to this ledger")
    add = relay.add_parser("add", help="make a token for a relay and print it once")
    remove = relay.add_parser("remove", help="make a relay's token invalid")
    listing = relay.add_parser("list", help="print the relays' names")
    for command in (add, remove, listing):
        command.add_argument("--config", required=True, type=Path, metavar="FILE", help="ledger.toml")
        command.add_argument("--json", action="store_true", help="print one JSON object")
    for command in (add, remove):
        command.add_argument("name", metavar="NAME", help="letters, digits and . _ -")
    add.set_defaults(run=_add)
    remove.set_defaults(run=_remove)
    listing.set_defaults(run=_list)


def _add(given: argparse.Namespace) -> None:
    token = issue_token(read_ledger_config(given.config).tokens, given.name, datetime.now(UTC))
    _print(given, {"relay": given.name, "token": token}, token)


def _remove(given: argparse.Namespace) -> None:
    revoke_token(read_ledger_config(given.config).tokens, given.name)
    _print(given, {"relay": given.name}, f"{given.name} is removed")


def _list(given: argparse.Namespace) -> None:
    names = [entry.name for entry in list_tokens(read_ledger_config(given.config).tokens)]
    _print(given, {"relays": names}, *names)


def _print(given: argparse.Namespace, fields: dict[str, object], *lines: str) -> None:
    if given.json:
        sys.stdout.write(json.dumps(fields) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in lines)
