"""`blindrelay run`: runs a program whose calls to language models are sealed or refused."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final

import click

from blindrelay.client.commands.options import connection_of, relay_option
from blindrelay.client.commands.run.environment import sealed_environment
from blindrelay.client.commands.run.program import (
    NOT_EXECUTABLE,
    NOT_FOUND,
    PlainProgram,
    SignalForwarder,
    forwarded_signals,
)
from blindrelay.client.commands.run.walled_program import NoWallError, WalledProgram, any_port
from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.errors import ConfigurationError
from blindrelay.client.provider_apis import MODELS
from blindrelay.v1.extras import needs_extra
from blindrelay.v1.inner_pb2 import Credential

_SHOWN_HOSTS: Final = 5
"""How many refused hosts are named after the program has ended."""

_HELP: Final = """Run a program with a local endpoint, and no other way out.

The endpoint runs as long as the program. Base URLs and keys of OpenAI, Anthropic, Gemini, Mistral and
Cohere point to it, with a token for this run. With credentials=brought, your own keys stay as they are.

\b
What keeps the program from sending in clear:
  wall     (Linux) Its network contains the endpoint and nothing else. This covers TCP, UDP, DNS, raw
           sockets, IPv4 and IPv6, Unix sockets, and all child processes. Local servers are cut off too.
  no wall  Proxy variables point to the endpoint, which refuses everything else, and Node connects to
           this machine only. This works for Node and for programs that follow proxy variables. It does
           not stop others (aiohttp, curl --noproxy), or a program that wants to get out.

\b
Examples:
  blindrelay run -- python program.py
  blindrelay run -- claude
  blindrelay run --provider models -- python program.py
  blindrelay run -- sh -c 'curl -H "Authorization: Bearer $OPENAI_API_KEY" "$OPENAI_BASE_URL/models"'

Signals are passed on to the program. After it ends, stderr names the hosts that were refused.

Exit codes: the program's own; 128 plus the signal's number if a signal ended it; 2 wrong input or
configuration, or no wall with --wall; 126 it cannot be run, 127 it is not found.
"""


@click.command(help=_HELP, context_settings={"allow_interspersed_args": False})
@click.argument("command", metavar="CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=0,
    show_default=True,
    help="The endpoint's port on loopback; 0 is any.",
)
@click.option(
    "--wall/--no-wall",
    default=None,
    help="--wall: give the program a network that contains only the endpoint, or fail (Linux). "
    "Default: a wall if this machine allows one.",
)
@click.option(
    "--unix-sockets",
    is_flag=True,
    help="Allow Unix sockets behind the wall. Daemons such as Docker can then open connections for it.",
)
@click.option(
    "--provider",
    "-p",
    help="models: OpenAI's and Anthropic's SDKs get all models of the bridge. Default: the connection's.",
)
@relay_option
def run(
    command: tuple[str, ...],
    port: int,
    wall: bool | None,
    unix_sockets: bool,
    provider: str | None,
    relay: str | None,
) -> int:
    """Runs the program; returns its exit code, or that of what went wrong."""
    connection = connection_of(relay)
    if provider is not None:
        connection = replace(connection, provider=provider)
    parts = _endpoint_parts()
    token = parts.new_token()
    with ExitStack() as stack:
        signals = stack.enter_context(forwarded_signals())
        walled = _walled(command, connection, token, port, unix_sockets, wall)
        prepared = walled or _unwalled(command, connection, token, parts.listen("127.0.0.1", port))
        stack.callback(prepared.close)
        unsealed = stack.enter_context(parts.running_endpoint(connection, prepared.listener, token))
        code = _run(command[0], prepared, signals)
    _tell_refusals(unsealed.counts)
    return code


def _run(name: str, prepared: WalledProgram | PlainProgram, signals: SignalForwarder) -> int:
    """Starts the program and waits for its end; returns the exit code."""
    try:
        program = signals.start(prepared)
    except FileNotFoundError:
        return _not_run(f"{name}: not found", NOT_FOUND)
    except OSError as error:
        return _not_run(f"{name}: {error.strerror}", NOT_EXECUTABLE)
    return signals.exit_code(program)


def _walled(
    command: Sequence[str],
    connection: ConnectionConfig,
    token: str,
    port: int,
    unix_sockets: bool,
    wall: bool | None,
) -> WalledProgram | None:
    """The program behind a wall, or None. `wall` says whether one is required; None means if possible."""
    if wall is False:
        return None
    port = port or any_port()
    try:
        return WalledProgram(command, _environment(connection, token, port), port, allow_unix=unix_sockets)
    except NoWallError as error:
        if wall:
            raise ConfigurationError(f"--wall: {error}") from None
        click.echo(
            f"blindrelay: warning: {error}, so a program that ignores its proxy variables can send in clear: "
            "see `blindrelay run --help`; --no-wall turns this warning off",
            err=True,
        )
    return None


def _unwalled(
    command: Sequence[str], connection: ConnectionConfig, token: str, listener: socket.socket
) -> PlainProgram:
    environ = _environment(connection, token, listener.getsockname()[1])
    return PlainProgram(command, environ, listener)


def _environment(connection: ConnectionConfig, token: str, port: int) -> dict[str, str]:
    brought = connection.credential == Credential.CREDENTIAL_BROUGHT
    return sealed_environment(
        os.environ,
        f"http://127.0.0.1:{port}",
        token,
        own_keys=brought,
        all_models=connection.provider == MODELS,
    )


def _endpoint_parts() -> Any:
    with needs_extra("proxy"):
        from blindrelay.client.commands.run import endpoint as run_endpoint
    return run_endpoint


def _tell_refusals(counts: Counter[str]) -> None:
    if not counts:
        return
    shown = [f"{host} ({count})" for host, count in counts.most_common(_SHOWN_HOSTS)]
    others = len(counts) - len(shown)
    more = f" and {others} more" if others else ""
    click.echo(f"blindrelay: refused because not sealed: {', '.join(shown)}{more}", err=True)


def _not_run(message: str, code: int) -> int:
    click.echo(f"blindrelay: {message}", err=True)
    return code
