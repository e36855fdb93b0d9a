"""The command `blindrelay-relay`."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blindrelay.relay_node.config import RelayConfig, read_relay_config
from blindrelay.relay_node.relay import Relay
from blindrelay.relay_node.sandbox_needs import relay_needs
from blindrelay.serving import (
    Address,
    Announce,
    add_health_check,
    add_serving,
    command_parser,
    enter_sandbox,
    leave_terminal,
    run_command,
)

if TYPE_CHECKING:
    from blindrelay.serving.command import Commands
    from blindrelay.serving.doctor import Finding

MAX_WORKERS: Final = 64
"""Processes of one relay. More than one for each core is pointless."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns the exit code."""
    parser, commands = command_parser(
        "blindrelay-relay", "Forward sealed exchanges to bridges.", _serve, _examine
    )
    commands.choices["serve"].add_argument(
        "--workers", type=_workers, default=1, metavar="N", help="processes that share the port (default: 1)"
    )
    add_serving(
        commands, "envoy", "configure Envoy as the data plane, and serve as its control process", _control
    )
    _add_drain(commands)
    add_health_check(commands, read_relay_config)
    return run_command(parser, argv)


def _serve(arguments: argparse.Namespace, announce: Announce) -> None:
    def on_ready(address: Address) -> None:
        announce(f"The relay listens on {address}.", listening=str(address))

    config = read_relay_config(arguments.config)
    if config.sandbox:
        leave_terminal()
    if arguments.workers > 1:
        from blindrelay.relay_node.workers import serve_with_workers  # not needed by a single process

        serve_with_workers(config, arguments.config, arguments.workers, on_ready)
        return
    if config.sandbox:
        enter_sandbox(relay_needs(config, arguments.config))
    asyncio.run(_serve_alone(config, on_ready))


def _control(arguments: argparse.Namespace, announce: Announce) -> None:
    from blindrelay.relay_node.envoy.process import serve_behind_envoy  # not needed by a relay that forwards

    def on_ready(address: Address, bootstrap: Path) -> None:
        announce(
            f"The control process serves. Start Envoy, which will listen on {address}: "
            f"envoy -c {bootstrap} --file-flush-interval-msec 100",
            envoy_config=str(bootstrap),
            listening=str(address),
        )

    config = read_relay_config(arguments.config)
    asyncio.run(serve_behind_envoy(config, arguments.config, on_ready))


def _add_drain(commands: Commands) -> None:
    command = commands.add_parser("drain", help="let Envoy's exchanges finish, before both are stopped")
    command.add_argument("--config", required=True, type=Path, metavar="FILE", help="TOML configuration")

    def run(given: argparse.Namespace) -> None:
        from blindrelay.relay_node.envoy.drain import drain_envoy  # not needed by a relay that serves

        drain_envoy(read_relay_config(given.config), given.config)

    command.set_defaults(run=run)


async def _serve_alone(config: RelayConfig, on_ready: Callable[[Address], None]) -> None:
    await Relay(config).serve(on_ready)


def _examine(file: Path) -> Iterable[Finding]:
    from blindrelay.relay_node.doctor import relay_findings  # not needed by a relay that serves

    return relay_findings(file)


def _workers(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_WORKERS:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to {MAX_WORKERS}")
