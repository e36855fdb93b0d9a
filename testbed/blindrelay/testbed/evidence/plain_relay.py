"""A relay as people use them today: it reads everything. The evidence run looks through it as through ours.

    python -m blindrelay.testbed.evidence.plain_relay PROVIDER_URL

It takes requests in clear, checks nothing, passes them on, and keeps no log: what is found is what it held
to do its work. When it listens it prints {"listening": "127.0.0.1:PORT"}.
"""

from __future__ import annotations

import json
import sys
from http.server import ThreadingHTTPServer

from blindrelay.testbed.reading_relay import ReadingHandler


def main() -> None:
    """Serves until it is ended."""
    handler = type("Handler", (ReadingHandler,), {"provider": sys.argv[1]})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    sys.stdout.write(json.dumps({"listening": f"127.0.0.1:{server.server_address[1]}"}) + "\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
