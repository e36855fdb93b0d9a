"""The command `blindrelay-ledger`."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from blindrelay.v1.extras import needs_extra

with needs_extra("ledger"):
    from blindrelay.ledger.commands.accounts import add_account_commands
    from blindrelay.ledger.commands.credits import add_credit_commands
    from blindrelay.ledger.commands.health import add_health_commands
    from blindrelay.ledger.commands.import_books import add_import_commands
    from blindrelay.ledger.commands.page import add_page_commands
    from blindrelay.ledger.commands.relays import add_relay_commands
    from blindrelay.ledger.commands.reports import add_report_commands
    from blindrelay.ledger.commands.tokens import add_token_commands
    from blindrelay.ledger.config import read_ledger_config
    from blindrelay.serving import Announce, CommandParser, add_health_check, command_parser, run_command

if TYPE_CHECKING:
    from blindrelay.ledger.server import Listening
    from blindrelay.serving.doctor import Finding


def parser() -> CommandParser:
    """The command's arguments."""
    command, commands = command_parser(
        "blindrelay-ledger", "Keep a relay's accounts, limits and bills.", _serve, _examine, token_files=False
    )
    for add in (
        *(add_account_commands, add_token_commands, add_credit_commands),
        *(add_report_commands, add_health_commands, add_relay_commands),
        *(add_import_commands, add_page_commands),
    ):
        add(commands)
    add_health_check(commands, read_ledger_config)
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns the exit code."""
    return run_command(parser(), argv)


def _serve(arguments: argparse.Namespace, announce: Announce) -> None:
    with needs_extra("ledger"):
        from blindrelay.ledger.server import Ledger  # not needed by the other commands

    config = read_ledger_config(arguments.config)

    def on_ready(listening: Listening) -> None:
        page = {} if listening.page is None else {"page": listening.page}
        announce(
            f"The ledger listens on {listening.relays}, for operators on {listening.admin}."
            + "".join(f" Its page is {url}" for url in page.values()),
            listening=str(listening.relays),
            admin=str(listening.admin),
            **page,
        )

    async def serve() -> None:
        await Ledger(config).serve(on_ready)

    asyncio.run(serve())


def _examine(file: Path) -> Iterable[Finding]:
    from blindrelay.ledger.doctor import ledger_findings  # not needed by a ledger that serves

    return ledger_findings(file)
