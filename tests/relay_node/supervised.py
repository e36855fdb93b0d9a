"""A supervisor with two workers that do nothing: supervised.py [fork-fails | hangs | ignored]

It prints "ready", "lost", and "pid PID" for each worker that starts.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial

from blindrelay.relay_node import supervisor

MODE = sys.argv[1]
fork, forks = os.fork, 0
say = partial(print, flush=True)


def failing_fork() -> int:
    """The third fork is for the first replacement."""
    global forks
    forks += 1
    if forks == 3 and MODE == "fork-fails":
        raise BlockingIOError("no process available")
    return fork()


def main() -> None:
    os.fork = failing_fork
    vars(supervisor).update(RESTART_SECONDS=0.1, READY_SECONDS=100.0)
    if MODE == "ignored":
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    worker = supervisor.Supervisor(2, partial(say, "ready"), partial(say, "lost")).run()
    if worker is None:
        return
    say("pid", os.getpid())
    if forks == 3 and MODE == "hangs":
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        signal.setitimer(signal.ITIMER_REAL, left / 1_000)  # later, if the supervisor has set it at all
        time.sleep(3_600)
    worker.ready()
    worker._socket.recv(1)
    os._exit(0)


if __name__ == "__main__":
    main()
