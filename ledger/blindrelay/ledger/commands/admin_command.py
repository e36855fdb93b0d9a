"""What the operator's commands have in common: --config, --json, a call of the admin service, a result."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blindrelay.ledger.admin_channel import AdminStub, admin_stub
from blindrelay.ledger.config import read_ledger_config

Subcommands = Any
"""The type that argparse's add_subparsers() returns. It has no public name."""


@dataclass(frozen=True)
class Shown:
    """A command's result: fields for --json, or None if it has printed them, and lines for people."""

    fields: Mapping[str, Any] | None
    lines: Iterable[str]
    exit_code: int = 0


Run = Callable[[AdminStub, argparse.Namespace], Awaitable[Shown]]
"""Makes the calls and returns what they showed."""


def add_command(commands: Subcommands, name: str, summary: str, run: Run) -> argparse.ArgumentParser:
    """Adds a command that calls the admin service. The caller adds its own arguments to the result."""
    command: argparse.ArgumentParser = commands.add_parser(name, help=summary)
    command.add_argument(
        "--config", required=True, type=Path, metavar="FILE", help="the ledger's ledger.toml"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")

    async def call(arguments: argparse.Namespace) -> Shown:
        async with admin_stub(read_ledger_config(arguments.config)) as stub:
            return await run(stub, arguments)

    command.set_defaults(run=lambda arguments: show(asyncio.run(call(arguments)), arguments.json))
    return command


def show(shown: Shown, as_json: bool) -> int:
    """Prints a result, and returns the exit code."""
    if shown.fields is not None and as_json:
        sys.stdout.write(json.dumps(shown.fields) + "\n")
    elif not as_json:
        sys.stdout.writelines(f"{line}\n" for line in shown.lines)
    return shown.exit_code


def add_group(commands: Subcommands, name: str, summary: str) -> Subcommands:
    """Adds a command that has subcommands."""
    return commands.add_parser(name, help=summary).add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
