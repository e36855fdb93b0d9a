"""`blindrelay run`: a program whose calls to language models leave sealed, or not at all."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

import click

from blindrelay.client.commands.options import connection_of, relay_option
from blindrelay.client.commands.run.environment import sealed_environment
from blindrelay.client.commands.run.program import (
    NOT_EXECUTABLE,
    NOT_FOUND,
    PlainProgram,
    exit_code,
    forwarded_signals,
)
from blindrelay.client.commands.run.walled_program import NoWallError, WalledProgram, any_port
from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.errors import ConfigurationError
from blindrelay.v1.extras import needs_extra
from blindrelay.v1.inner_pb2 import Credential

_SHOWN_HOSTS: Final = 5
"""How many refused hosts are named when the program has ended."""


@click.command(context_settings={"allow_interspersed_args": False})
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
    help="Give the program a network with nothing in it but the endpoint, or fail (Linux); or do without. "
    "Default: a wall where this machine allows one.",
)
@click.option(
    "--unix-sockets",
    is_flag=True,
    help="Behind the wall, allow Unix sockets. Daemons such as Docker can then open connections for it.",
)
@relay_option
def run(command: tuple[str, ...], port: int, wall: bool | None, unix_sockets: bool, relay: str | None) -> int:
    """Run a program with a local endpoint, and no other way out.

    The endpoint runs as long as the program. Base URLs and keys of OpenAI, Anthropic, Gemini, Mistral and
    Cohere point to it, with a token that is good for this run alone. With credentials=brought your own keys
    stay as they are.

    \b
    What keeps the program from sending in clear:
      wall     (Linux) Its network has the endpoint in it and nothing else. Holds TCP, UDP, DNS, raw sockets,
               IPv4 and IPv6, Unix sockets, and every child process. Local servers cannot be reached either.
      no wall  Proxy variables point to the endpoint, which refuses what is not for it, and Node connects to
               this machine alone. Holds programs that follow these variables, and Node. Does not hold
               others (aiohttp, curl --noproxy), nor one that means to get out.

    \b
    Examples:
      blindrelay run -- python program.py
      blindrelay run -- claude
      blindrelay run -- sh -c 'curl -H "Authorization: Bearer $OPENAI_API_KEY" "$OPENAI_BASE_URL/models"'

    Exit codes: the program's own; 128 and the signal's number if a signal ended it; 2 wrong input or
    configuration, or no wall with --wall; 126 it cannot be run, 127 it is not found. Signals are handed on to
    the program. Hosts that were refused are named on stderr when it has ended.
    """
    connection = connection_of(relay)
    parts = _endpoint_parts()
    token = parts.new_token()
    with ExitStack() as stack:
        hand_on = stack.enter_context(forwarded_signals())
        prepared: WalledProgram | PlainProgram | None = None
        if wall is not False:
            prepared = _walled(command, connection, token, port, unix_sockets, is_required=bool(wall))
        if prepared is None:
            prepared = _unwalled(command, connection, token, parts.listen("127.0.0.1", port))
        stack.callback(prepared.close)
        unsealed = stack.enter_context(parts.running_endpoint(connection, prepared.listener, token))
        try:
            program = prepared.start()
        except FileNotFoundError:
            return _not_run(f"{command[0]}: not found", NOT_FOUND)
        except OSError as error:
            return _not_run(f"{command[0]}: {error.strerror}", NOT_EXECUTABLE)
        hand_on(program)
        code = exit_code(program)
    _tell_refusals(unsealed.counts)
    return code


def _walled(
    command: Sequence[str],
    connection: ConnectionConfig,
    token: str,
    port: int,
    unix_sockets: bool,
    *,
    is_required: bool,
) -> WalledProgram | None:
    """The program behind a wall; None, with a warning, where there can be none and none is required."""
    port = port or any_port()
    try:
        return WalledProgram(command, _environment(connection, token, port), port, allow_unix=unix_sockets)
    except NoWallError as error:
        if is_required:
            raise ConfigurationError(f"--wall: {error}") from None
        click.echo(
            f"blindrelay: warning: {error}, so a program that ignores its proxy variables can send in clear; "
            "`blindrelay run --help` says which, --no-wall leaves this warning out",
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
    return sealed_environment(os.environ, f"http://127.0.0.1:{port}", token, own_keys=brought)


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
    click.echo(f"blindrelay: refused, since it was not sealed: {', '.join(shown)}{more}", err=True)


def _not_run(message: str, code: int) -> int:
    click.echo(f"blindrelay: {message}", err=True)
    return code
