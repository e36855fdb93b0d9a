"""A supervisor with two workers that do nothing: supervised.py [fork-fails | hangs]

It prints "ready", "lost", and the process id of each worker that starts.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial

from blindrelay.relay_node import supervisor

fork, forks = os.fork, 0


def say(what: str) -> None:
    print(what, flush=True)


def failing_fork() -> int:
    """The third fork is for the first replacement."""
    global forks
    forks += 1
    if forks == 3 and "fork-fails" in sys.argv:
        raise BlockingIOError("no process available")
    return fork()


def main() -> None:
    os.fork = failing_fork
    vars(supervisor).update(RESTART_SECONDS=0.1, READY_SECONDS=4.0 if "hangs" in sys.argv else 60.0)
    worker = supervisor.Supervisor(2, partial(say, "ready"), partial(say, "lost")).run()
    if worker is None:
        return
    say(str(os.getpid()))
    if forks == 3 and "hangs" in sys.argv:
        time.sleep(3_600)
    worker.ready()
    worker._socket.recv(1)
    os._exit(0)


if __name__ == "__main__":
    main()
