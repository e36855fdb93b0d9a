"""The process that judges bodies (checker_process.py). It ends with its standard input."""

from __future__ import annotations

import signal
import sys

from blindrelay.provider_bridge.stateless.questions import serve
from blindrelay.serving.process import leave_no_traces


def main() -> None:
    """Answers until there are no more questions."""
    leave_no_traces()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from a terminal; the bridge ends this process when it ends
    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
