"""Runs a module as a program for as long as its parent lives.

    python -P tether.py MODULE ARGUMENT…

The parent holds the other end of our stdin. When that closes, the parent is gone, whatever ended it, and so
are we: nothing that a testbed started outlives it.

It is run as a file, and imports nothing of ours, so that a part has nothing in it but its own.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time
from typing import Final

_GRACE: Final = 2.0
"""Seconds between asking ourselves to stop and just stopping."""


def main() -> None:
    """Replaces our command line by the module's and runs it."""
    module, *arguments = sys.argv[1:]
    threading.Thread(target=_end_with_parent, name="tether", daemon=True).start()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(1)


if __name__ == "__main__":
    main()
