"""The command blindrelay-bridge."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from blindrelay.provider_bridge.bridge import Bridge
from blindrelay.provider_bridge.config import read_bridge_config
from blindrelay.provider_bridge.events import log_to_stderr
from blindrelay.provider_bridge.identity_file import load_identity, load_or_make_identity
from blindrelay.sealing import format_identity
from blindrelay.serving import Address, Announce, CommandParser, command_parser, run_command


def parser() -> CommandParser:
    """The command's arguments."""
    command, commands = command_parser(
        "blindrelay-bridge",
        "Opens sealed exchanges beside a provider, calls it, and seals its answers.",
        _serve,
    )
    identity = commands.add_parser("identity", help="print the identity that clients pin")
    identity.add_argument("--key", required=True, type=Path, metavar="FILE", help="the identity key's file")
    identity.set_defaults(run=_print_identity)
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    return run_command(parser(), argv)


async def _serve(config_file: Path, announce: Announce) -> None:
    config = read_bridge_config(config_file)
    identity = load_or_make_identity(config.identity_key)
    log_to_stderr()

    def on_ready(address: Address) -> None:
        text = format_identity(identity.public_key)
        announce(
            f"The bridge listens on {address}. Clients pin its identity: {text}",
            listening=str(address),
            identity=text,
        )

    await Bridge(config, identity).serve(on_ready)


def _print_identity(arguments: argparse.Namespace) -> None:
    sys.stdout.write(format_identity(load_identity(arguments.key).public_key) + "\n")
