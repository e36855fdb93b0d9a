"""`blindrelay chat`: a question to a model, sealed, and its response as it comes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import click

from blindrelay.client.commands.api_dialects import DIALECTS, Message
from blindrelay.client.commands.options import (
    connection_of,
    json_option,
    origin_option,
    provider_option,
    relay_option,
)
from blindrelay.client.commands.relay_view_report import view_json, view_text
from blindrelay.client.commands.sealed_api import PartialResponseError, SealedApi
from blindrelay.client.commands.terminal import one_line, printable, waiting
from blindrelay.client.errors import BlindRelayError
from blindrelay.client.relay_view import RelayView
from blindrelay.client.transport import SealedTransport

_STDIN = "-"


@click.command()
@click.argument("prompt", required=False)
@click.option("--model", "-m", envvar="BLINDRELAY_MODEL", help="Which model; BLINDRELAY_MODEL otherwise.")
@provider_option
@origin_option
@click.option("--system", "-s", help="What the model is told before the conversation.")
@click.option("--show-relay-view", is_flag=True, help="Print, on stderr, what the relay held of it.")
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

    PROMPT is read from stdin if it is - or missing. At a terminal without one a conversation begins: Ctrl-C
    stops a response, and Ctrl-D or Ctrl-C at the prompt ends the conversation.

    \b
    Examples:
      blindrelay chat "What is the capital of France?"
      blindrelay chat --show-relay-view "And of Portugal?"
      git diff | blindrelay chat --system "Write a commit message." -
      blindrelay chat --provider anthropic --model claude-sonnet-4-5

    Exit codes: 0 done, 2 wrong input, 3 relay, 4 bridge, 5 provider (also if it stopped early),
    130 interrupted.
    """
    dialect = DIALECTS[provider or "openai"]
    model = model or dialect.model
    if model is None:
        raise click.UsageError(f"which model? `blindrelay models --provider {dialect.name}` lists them")
    asked = _read(prompt)
    if asked is None and as_json:
        raise click.UsageError("--json is for one question: give a PROMPT")
    views: list[RelayView] = []
    transport = SealedTransport(connection_of(relay), observer=views.append if show_relay_view else None)
    with SealedApi(transport, dialect, origin) as api:
        conversation = _Conversation(api, model, system, views)
        if asked is None:
            conversation.run()
            return
        cut = conversation.ask(asked, quiet=as_json)
    # Only now: the last padding comes after the response's end.
    if as_json:
        said = {"answer": conversation.messages[-1]["content"], "complete": cut is None}
        held = {"relay_view": [view_json(view) for view in views]} if show_relay_view else {}
        click.echo(json.dumps({"provider": dialect.name, "model": model, **said, **held}, indent=2))
    else:
        _show(views)
    if cut is not None:
        raise cut


def _read(prompt: str | None) -> str | None:
    """The question; None if a person sits there and is to be asked."""
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


@dataclass
class _Conversation:
    api: SealedApi
    model: str
    system: str | None
    views: list[RelayView]
    messages: list[Message] = field(default_factory=list)

    def run(self) -> None:
        """Asks whatever is typed. An error does not end it, nor Ctrl-C during a response."""
        with suppress(ImportError):  # Windows has none
            import readline  # noqa: F401 (with it input() has a history and arrow keys)

        while (text := _typed()) is not None:
            self.views.clear()
            try:
                if cut := self.ask(text):
                    raise cut
            except BlindRelayError as error:
                click.echo(f"blindrelay: {one_line(str(error))}", err=True)
            except KeyboardInterrupt:
                click.echo("The response was stopped. Ctrl-C again ends the conversation.", err=True)
            _show(self.views)

    def ask(self, text: str, *, quiet: bool = False) -> PartialResponseError | None:
        """Asks, prints the response as it comes and remembers it. Returns why it is a part, if the provider
        stopped early. Raises BlindRelayError. What came before Ctrl-C is remembered, too.
        """
        question, cut, came = Message(role="user", content=text), None, list[str]()
        try:
            for piece in self._pieces([*self.messages, question]):
                came.append(piece)
                if not quiet:
                    _print(piece)
        except PartialResponseError as error:
            cut = error
        except BaseException as error:
            if sys.stdout.isatty():
                click.echo()  # what is said of it stands in a line of its own
            if isinstance(error, KeyboardInterrupt) and any(came):
                self._remember(question, came)
            raise
        if not quiet:
            click.echo()
        self._remember(question, came)
        return cut

    def _remember(self, question: Message, came: list[str]) -> None:
        self.messages += [question, Message(role="assistant", content="".join(came))]

    def _pieces(self, messages: list[Message]) -> Iterator[str]:
        pieces = self.api.chat(self.model, messages, self.system)
        with waiting("waiting for the response"):
            first = next(pieces, "")
        yield first
        yield from pieces


def _typed() -> str | None:
    """What is typed next that is not blank; None after Ctrl-D."""
    while True:
        try:
            text = input("> ")
            text.encode()
        except EOFError:
            click.echo()
            return None
        except UnicodeError:
            click.echo(f"blindrelay: that is not {sys.stdin.encoding} text", err=True)
            continue
        if text.strip():
            return text


def _print(piece: str) -> None:
    # color: what goes into a file is what was said, to the byte.
    click.echo(printable(piece) if sys.stdout.isatty() else piece, nl=False, color=True)


def _show(views: list[RelayView]) -> None:
    for view in views:
        click.echo("\n" + "\n".join(view_text(view)), err=True)
