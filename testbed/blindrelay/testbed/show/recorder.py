"""Between bridge and provider: what the bridge sends on, and what it gets, is shown. Testbed only.

The bridge's own process has no tap; but what it knows of an exchange is what it passes on, and this is that.
"""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import urlsplit

from blindrelay.testbed.show.events import Events

_DROPPED: Final = frozenset({"connection", "content-length", "host", "transfer-encoding"})
_PIECE: Final = 65_536


class Recorder:
    """An HTTP server on a free port, before the provider at a URL that is set before the first request."""

    def __init__(self) -> None:
        self.provider = ""
        self.events: Events | None = None
        handler = type("Handler", (_Handler,), {"recorder": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def say(self, what: str, **more: Any) -> None:
        """Tells the pages what the bridge has."""
        if self.events is not None:
            self.events.say("bridge", what, **more)


class _Handler(BaseHTTPRequestHandler):
    recorder: Recorder
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _DROPPED}
        self.recorder.say(
            "request",
            line=f"{self.command} {self.path}",
            headers=[f"{name}: {value}" for name, value in headers.items()],
            text=body.decode(errors="replace"),
        )
        upstream = http.client.HTTPConnection(urlsplit(self.recorder.provider).netloc)
        try:
            upstream.request(self.command, self.path, body, headers)
            self._answer(upstream.getresponse())
        except OSError:
            self.recorder.say("gone")  # who left was the bridge, since its client had
        finally:
            upstream.close()
            self.close_connection = True

    def _answer(self, answer: http.client.HTTPResponse) -> None:
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _DROPPED:
                self.send_header(name, value)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        while piece := answer.read1(_PIECE):
            self.recorder.say("answer", text=piece.decode(errors="replace"))
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_DELETE = _pass_on  # noqa: N815 (the library's names)

    def log_message(self, *_: Any) -> None:
        """Nothing."""
