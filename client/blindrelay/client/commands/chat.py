"""`blindrelay chat`: asks a model, sealed, and prints the response as it comes."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from blindrelay.client.commands.api_dialects import DIALECTS
from blindrelay.client.commands.conversation import Conversation, show_views
from blindrelay.client.commands.options import (
    connection_of,
    dialect_for,
    json_option,
    origin_option,
    provider_option,
    relay_option,
)
from blindrelay.client.commands.relay_view_report import view_json
from blindrelay.client.commands.sealed_api import PartialResponseError, SealedApi
from blindrelay.client.relay_view import RelayView
from blindrelay.client.transport import SealedTransport

_STDIN = "-"


@click.command()
@click.argument("prompt", required=False)
@click.option(
    "--model",
    "-m",
    envvar="BLINDRELAY_MODEL",
    help=f"The model; default: BLINDRELAY_MODEL, or {DIALECTS['openai'].model} with OpenAI's API.",
)
@provider_option
@origin_option
@click.option("--system", "-s", help="Instructions to the model before the conversation.")
@click.option("--show-relay-view", is_flag=True, help="Print on stderr what the relay could see.")
@relay_option
@json_option
def chat(
    prompt: str | None,
    model: str | None,
    provider: str | None,
    origin: str | None,
    system: str | None,
    show_relay_view: bool,
    relay: str | None,
    as_json: bool,
) -> None:
    """Ask a model, sealed, and print the response as it comes.

    PROMPT is read from stdin if it is - or missing. At a terminal, a conversation begins if it is missing.
    Ctrl-C stops a response; Ctrl-D or Ctrl-C at the prompt ends the conversation.

    \b
    Examples:
      blindrelay chat --show-relay-view "Hello"
      git diff | blindrelay chat --system "Write a commit message." -
      blindrelay chat --provider anthropic --model claude-sonnet-4-5
      blindrelay chat --provider models --model gpt-4o

    Exit codes: 0 done, 2 wrong input, 3 relay, 4 bridge, 5 provider (also if it stopped early),
    130 interrupted.
    """
    question = _read(prompt)
    if question is None and as_json:
        raise click.UsageError("--json is for one question: give a PROMPT")
    connection = connection_of(relay)
    dialect = dialect_for(provider, connection)
    model = model or dialect.model
    if model is None:
        raise click.UsageError(f"which model? `blindrelay models --provider {dialect.name}` lists them")
    views: list[RelayView] | None = [] if show_relay_view else None
    transport = SealedTransport(connection, observer=None if views is None else views.append)
    with SealedApi(transport, dialect, origin) as api:
        conversation = Conversation(api, model, system, views)
        if question is None:
            conversation.run()
            return
        partial = conversation.ask(question, quiet=as_json)
    _report(conversation, partial, as_json)  # only now: the last padding comes after the response's end


def _report(conversation: Conversation, partial: PartialResponseError | None, as_json: bool) -> None:
    """Prints what is left to print of one question. Raises `partial`."""
    if as_json:
        report: dict[str, Any] = {
            "provider": conversation.api.dialect.name,
            "model": conversation.model,
            "answer": conversation.messages[-1]["content"],
            "complete": partial is None,
            **conversation.api.served,
        }
        if conversation.views is not None:
            report["relay_view"] = [view_json(view) for view in conversation.views]
        click.echo(json.dumps(report, indent=2))
    else:
        show_views(conversation.views or [])
    if partial is not None:
        raise partial


def _read(prompt: str | None) -> str | None:
    """The question; None without a prompt at a terminal."""
    if prompt is None and sys.stdin.isatty():
        return None
    try:
        text = sys.stdin.read() if prompt in (None, _STDIN) else prompt
        text.encode()  # Python keeps bytes that are not text as surrogates
    except UnicodeError:
        raise click.UsageError(
            f"the prompt is not {sys.stdin.encoding} text: convert it, or set PYTHONIOENCODING"
        ) from None
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise click.UsageError("the prompt is empty")
    return text
