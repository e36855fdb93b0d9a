"""The real relay with a tap on its channels to the bridges: what it forwards is written to a file.

    python -m blindrelay.testbed.tapped_relay FILE KEEP serve --config relay.toml [--json]

FILE is described in tap.py, KEEP is how many bytes of each message it keeps. The other arguments are those of
blindrelay-relay.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from blindrelay.relay_node import ChannelFactory, Relay, read_relay_config
from blindrelay.serving import Address, Announce, command_parser, run_command
from blindrelay.testbed.tap import Tap
from blindrelay.testing.tapped_channel import tapped


def main() -> int:
    """Runs the command; returns its exit code."""
    file, keep, *arguments = sys.argv[1:]
    return serve_with(tapped(Tap(Path(file), int(keep)).opened), arguments)


def serve_with(open_channel: ChannelFactory, arguments: Sequence[str]) -> int:
    """Runs the relay's command line with channels of another kind; returns its exit code."""

    def serve(arguments: argparse.Namespace, announce: Announce) -> None:
        def on_ready(address: Address) -> None:
            announce(f"The tapped relay listens on {address}.", listening=str(address))

        async def run() -> None:
            await Relay(read_relay_config(arguments.config), open_channel=open_channel).serve(on_ready)

        asyncio.run(run())

    parser, _ = command_parser("tapped-relay", "Forward sealed exchanges, and show them.", serve)
    return run_command(parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
