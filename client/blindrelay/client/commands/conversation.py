"""A conversation with a model: what is typed, what is answered, and what both have said so far."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import click

from blindrelay.client.commands.api_dialects import Message
from blindrelay.client.commands.relay_view_report import view_text
from blindrelay.client.commands.sealed_api import PartialResponseError, SealedApi
from blindrelay.client.commands.terminal import one_line, printable, waiting
from blindrelay.client.errors import BlindRelayError
from blindrelay.client.relay_view import RelayView


@dataclass
class Conversation:
    """Questions to one model.

    Attributes:
        views: what the relay saw of the last question; None means that it is not recorded.
    """

    api: SealedApi
    model: str
    system: str | None
    views: list[RelayView] | None
    messages: list[Message] = field(default_factory=list)

    def run(self) -> None:
        """Asks everything that is typed. Neither an error nor Ctrl-C during a response ends it."""
        with suppress(ImportError):  # not on Windows
            import readline  # noqa: F401 (gives input() a history and arrow keys)

        while (text := _typed()) is not None:
            if self.views is not None:
                self.views.clear()
            try:
                if partial := self.ask(text):
                    raise partial
            except BlindRelayError as error:
                click.echo(f"blindrelay: {one_line(str(error))}", err=True)
            except KeyboardInterrupt:
                click.echo("The response was stopped. Ctrl-C again ends the conversation.", err=True)
            show_views(self.views or [])

    def ask(self, text: str, *, quiet: bool = False) -> PartialResponseError | None:
        """Asks, prints the response as it comes and remembers it.

        Returns the error if the provider stopped early. Raises BlindRelayError. After Ctrl-C, the part
        that came is remembered.
        """
        question, partial, response = Message(role="user", content=text), None, list[str]()
        try:
            for part in self._response([*self.messages, question]):
                response.append(part)
                if not quiet:
                    _print(part)
        except PartialResponseError as error:
            partial = error
        except BaseException as error:
            if sys.stdout.isatty():
                click.echo()  # the error gets a line of its own
            if isinstance(error, KeyboardInterrupt) and any(response):
                self._remember(question, response)
            raise
        if not quiet:
            click.echo()
        self._remember(question, response)
        return partial

    def _remember(self, question: Message, response: list[str]) -> None:
        self.messages += [question, Message(role="assistant", content="".join(response))]

    def _response(self, messages: list[Message]) -> Iterator[str]:
        response = self.api.chat(self.model, messages, self.system)
        with waiting("waiting for the response"):
            first = next(response, "")
        yield first
        yield from response


def show_views(views: Iterable[RelayView]) -> None:
    """Prints on stderr what the relay saw."""
    for view in views:
        click.echo("\n" + "\n".join(view_text(view)), err=True)


def _typed() -> str | None:
    """The next line that is not blank; None after Ctrl-D."""
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


def _print(text: str) -> None:
    # color=True: a file gets exactly what the model said.
    click.echo(printable(text) if sys.stdout.isatty() else text, nl=False, color=True)
