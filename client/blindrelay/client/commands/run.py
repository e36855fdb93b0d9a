"""`blindrelay run`: a program whose calls to language models leave sealed, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager

import click

from blindrelay.client.commands.options import connection_of, relay_option
from blindrelay.client.commands.run_environment import dead_end, sealed_environment
from blindrelay.client.commands.run_program import NOT_EXECUTABLE, NOT_FOUND, run_program
from blindrelay.client.connection import Connection
from blindrelay.v1.extras import needs_extra
from blindrelay.v1.inner_pb2 import Credential

_RunningEndpoint = Callable[[Connection, int], AbstractContextManager[tuple[str, str]]]


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("command", metavar="CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=0,
    show_default=True,
    help="Of the endpoint, on loopback; 0 is any.",
)
@relay_option
def run(command: tuple[str, ...], port: int, relay: str | None) -> int:
    """Run a program with a local endpoint, and no other way out.

    The endpoint is there for as long as the program. Base URLs and keys of OpenAI, Anthropic, Gemini, Mistral
    and Cohere point to it, with a token that is good for this run alone. HTTP_PROXY, HTTPS_PROXY, ALL_PROXY
    and their like point to a port where nothing listens: what takes no base URL fails instead of leaving in
    clear. (It is a net, not a wall: a program that looks at none of these variables goes where it likes.)
    With credentials=brought your own keys stay as they are.

    \b
    Examples:
      blindrelay run -- python program.py
      blindrelay run -- claude
      blindrelay run -- sh -c 'curl -H "Authorization: Bearer $OPENAI_API_KEY" "$OPENAI_BASE_URL/models"'

    Exit codes: the program's own; 128 and the signal's number if a signal ended it; 2 wrong input or
    configuration; 126 it cannot be run, 127 it is not found. Signals are handed on to the program.
    """
    connection = connection_of(relay)
    running_endpoint = _running_endpoint()
    brought = connection.credential == Credential.CREDENTIAL_BROUGHT
    with running_endpoint(connection, port) as (url, token), dead_end() as nowhere:
        environ = sealed_environment(os.environ, url, token, nowhere, own_keys=brought)
        try:
            return run_program(command, environ)
        except FileNotFoundError:
            return _not_run(f"{command[0]}: not found", NOT_FOUND)
        except OSError as error:
            return _not_run(f"{command[0]}: {error.strerror}", NOT_EXECUTABLE)


def _running_endpoint() -> _RunningEndpoint:
    with needs_extra("proxy"):
        from blindrelay.client.commands.run_endpoint import running_endpoint
    return running_endpoint


def _not_run(message: str, code: int) -> int:
    click.echo(f"blindrelay: {message}", err=True)
    return code
