"""An HTTP server that passes everything on to a provider, and reads it on the way: what gateways do today."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

_DROPPED: Final = frozenset({"connection", "content-length", "host", "transfer-encoding"})
_PIECE: Final = 65_536


class ReadingHandler(BaseHTTPRequestHandler):
    """Serves one request. Subclasses say what is done with what is read: here, nothing.

    Attributes:
        provider: its base URL.
    """

    provider: ClassVar[str] = ""
    protocol_version = "HTTP/1.1"

    def read_request(self, headers: dict[str, str], body: bytes) -> None:
        """Is given what is passed on."""

    def read_piece(self, piece: bytes) -> None:
        """Is given each piece of the response's body."""

    def lost(self) -> None:
        """Is told when the other side left before the end."""

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _DROPPED}
        self.read_request(headers, body)
        upstream = http.client.HTTPConnection(urlsplit(self.provider).netloc)
        try:
            upstream.request(self.command, self.path, body, headers)
            self._response(upstream.getresponse())
        except OSError:
            self.lost()
        finally:
            upstream.close()
            self.close_connection = True

    def _response(self, response: http.client.HTTPResponse) -> None:
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in _DROPPED:
                self.send_header(name, value)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        while piece := response.read1(_PIECE):
            self.read_piece(piece)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_DELETE = _pass_on  # noqa: N815 (the library's names)

    def log_message(self, *_: Any) -> None:
        """Not even a log."""


@contextmanager
def reading_relay(handler: type[ReadingHandler]) -> Iterator[str]:
    """Serves on a free loopback port for as long as the block runs; gives the base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
