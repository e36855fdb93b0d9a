"""What several commands have in common: their options, and how they print."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import click

from blindrelay.client.commands.api_dialects import DIALECTS
from blindrelay.client.connection import Connection

Command = Callable[..., Any]


def relay_option(command: Command) -> Command:
    """--relay CONNECTION."""
    return click.option(
        "--relay", metavar="CONNECTION", help="blindrelay://…, instead of the configured relay."
    )(command)


def json_option(command: Command) -> Command:
    """--json, as the parameter `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def provider_option(command: Command) -> Command:
    """--provider openai|anthropic; None if it is not given."""
    return click.option(
        "--provider",
        "-p",
        type=click.Choice(sorted(DIALECTS)),
        help="Whose API; openai unless told otherwise.",
    )(command)


def origin_option(command: Command) -> Command:
    """--origin URL."""
    return click.option(
        "--origin", metavar="URL", help="Of another server with that API: https://models.example"
    )(command)


def connection_of(relay: str | None) -> Connection:
    """The one that --relay gives, or the configured one. Raises ConfigurationError."""
    return Connection.from_env() if relay is None else Connection.from_string(relay)


def print_either(as_json: bool, as_object: Callable[[], Any], as_lines: Callable[[], Iterable[str]]) -> None:
    """One JSON document, or lines for people."""
    if as_json:
        click.echo(json.dumps(as_object(), indent=2))
    else:
        for line in as_lines():
            click.echo(line)
