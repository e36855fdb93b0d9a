"""A relay as people use them today: it reads everything. The evidence run looks through it as through ours.

    python -m blindrelay.testbed.evidence.plain_relay PROVIDER_URL

It takes requests in clear, checks nothing, and passes them on to the provider, as gateways do.
When it listens it prints {"listening": "127.0.0.1:PORT"}.
"""

from __future__ import annotations

import http.client
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

_DROPPED: Final = frozenset({"connection", "content-length", "host", "transfer-encoding"})
_PIECE: Final = 65_536


class _Handler(BaseHTTPRequestHandler):
    provider = ""
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _DROPPED}
        upstream = http.client.HTTPConnection(urlsplit(self.provider).netloc)
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _DROPPED:
                self.send_header(name, value)
        self.send_header("connection", "close")
        self.end_headers()
        while piece := answer.read1(_PIECE):
            self.wfile.write(piece)
        upstream.close()
        self.close_connection = True

    do_GET = do_POST = do_DELETE = _pass_on  # noqa: N815 (the library's names)

    def log_message(self, *_: Any) -> None:
        """Not even a log: what is found is what it held to do its work."""


def main() -> None:
    """Serves until it is ended."""
    _Handler.provider = sys.argv[1]
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    sys.stdout.write(json.dumps({"listening": f"127.0.0.1:{server.server_address[1]}"}) + "\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
