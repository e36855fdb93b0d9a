"""Between bridge and provider: what the bridge sends on, and what it gets, is shown. Testbed only.

The bridge's own process has no tap; but what it knows of an exchange is what it passes on, and this is that.
"""

from __future__ import annotations

import threading
from http.server import ThreadingHTTPServer
from typing import Any, Self

from blindrelay.testbed.reading_relay import ReadingHandler
from blindrelay.testbed.show.events import Events


class Recorder:
    """A reading relay on a free port, before the provider that begin() names."""

    def __init__(self) -> None:
        self._events: Events | None = None

        class Handler(_Handler):
            recorder = self

        self._handler: type[_Handler] = Handler
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def begin(self, provider: str, events: Events) -> None:
        """Names the provider, and who is told; before the first request."""
        self._handler.provider, self._events = provider, events

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def say(self, what: str, **more: Any) -> None:
        """Tells the pages what the bridge has."""
        if self._events is not None:
            self._events.say("bridge", what, **more)


class _Handler(ReadingHandler):
    recorder: Recorder

    def read_request(self, headers: dict[str, str], body: bytes) -> None:
        line = f"{self.command} {self.path}"
        listed = [f"{name}: {value}" for name, value in headers.items()]
        self.recorder.say("request", line=line, headers=listed, text=body.decode(errors="replace"))

    def read_piece(self, piece: bytes) -> None:
        self.recorder.say("answer", text=piece.decode(errors="replace"))

    def lost(self) -> None:
        self.recorder.say("gone")  # who left was the bridge, since its client had
