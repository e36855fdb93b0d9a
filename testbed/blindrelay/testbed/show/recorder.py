"""Records what the bridge sends to the provider and gets from it. For the testbed only.

The bridge's own process has no tap. It passes on everything that it knows of an exchange, so this shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from blindrelay.testbed.reading_relay import ReadingHandler, reading_relay
from blindrelay.testbed.show.dialogue import Lines, words
from blindrelay.testbed.show.events import Events


class Recorder:
    """A reading relay on a free port, before the provider that begin() names."""

    def __init__(self) -> None:
        self._events: Events | None = None

        class Handler(_Handler):
            recorder = self

        self._handler: type[_Handler] = Handler

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serves for as long as the block runs; gives its base URL."""
        with reading_relay(self._handler) as url:
            yield url

    def begin(self, provider: str, events: Events) -> None:
        """Names the provider, and who is told; before the first request."""
        self._handler.provider, self._events = provider, events

    def say(self, what: str, **more: Any) -> None:
        """Tells the pages what the bridge has."""
        if self._events is not None:
            self._events.say("bridge", what, **more)


class _Handler(ReadingHandler):
    recorder: Recorder

    def read_request(self, headers: dict[str, str], body: bytes) -> None:
        self._lines = Lines()
        line = f"{self.command} {self.path}"
        listed = [f"{name}: {value}" for name, value in headers.items()]
        self.recorder.say("request", line=line, headers=listed, text=body.decode(errors="replace"))

    def read_piece(self, piece: bytes) -> None:
        said = "".join(map(words, self._lines.whole(piece)))
        self.recorder.say("answer", words=said, text=piece.decode(errors="replace"))

    def lost(self) -> None:
        self.recorder.say("gone")  # the bridge closed the connection, since its client was gone
