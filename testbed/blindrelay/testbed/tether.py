"""Runs a module as a program for as long as its parent lives.

    python -P tether.py MODULE ARGUMENT…

The parent holds the other end of our stdin. When that closes, the parent is gone, whatever ended it, and so
are we: nothing that a testbed started outlives it.

It is run as a file, and imports nothing of ours, so that a part has nothing in it but its own. It watches
from a process beside the part, since a thread in it would be out of the sandbox that a part enters.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import time
from typing import Final, NoReturn

_GRACE: Final = 2.0
"""Seconds between asking the part to stop and just stopping it."""


def main() -> None:
    """Replaces our command line by the module's and runs it."""
    module, *arguments = sys.argv[1:]
    part = os.getpid()
    if os.fork() == 0:
        _end_with_parent(part)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with_parent(part: int) -> NoReturn:
    # Whoever reads what the part writes waits until nobody can write any more.
    os.closerange(1, 3)
    while os.read(0, 1):
        pass
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        if os.getppid() == part:  # else it has ended, and its number may be another's by now
            os.kill(part, signal_number)
            time.sleep(_GRACE)
    os._exit(0)


if __name__ == "__main__":
    main()
