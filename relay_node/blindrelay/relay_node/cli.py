"""The command `blindrelay-relay`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blindrelay.relay_node.config import read_relay_config
from blindrelay.relay_node.relay import Relay
from blindrelay.serving import (
    Address,
    Announce,
    command_parser,
    forbid_writing_and_programs,
    run_command,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit code."""
    parser, _ = command_parser("blindrelay-relay", "Forward sealed exchanges to bridges.", _serve)
    return run_command(parser, argv)


async def _serve(config_file: Path, announce: Announce) -> None:
    def on_ready(address: Address) -> None:
        announce(f"The relay listens on {address}.", listening=str(address))

    config = read_relay_config(config_file)
    if config.sandbox:
        forbid_writing_and_programs()
    await Relay(config).serve(on_ready)
