"""Runs a command that gets a signal when its parent ends, however that ends.

    python -IS with_parent.py SIGNAL PARENT USER:GROUP PROGRAM ARGUMENT…

The process becomes the program at this path, as this user; USER:GROUP may be empty. PARENT is the process ID
of its parent: if that has ended already, the program does not start. A function that runs between fork and
exec would be shorter, but with gRPC's threads it may crash.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2). A process loses it when it changes its user, so that comes first."""


def with_parent(crash_signal: signal.Signals, owner: tuple[int, int] | None = None) -> tuple[str, ...]:
    """What to put before a command that this process runs.

    `owner` is a user's and a group's number. Only root may give one.
    """
    user = "" if owner is None else f"{owner[0]}:{owner[1]}"
    return (sys.executable, "-IS", __file__, str(int(crash_signal)), str(os.getpid()), user)


def main() -> None:
    """Raises OSError before anything of the command runs."""
    crash_signal, parent, owner, *command = sys.argv[1:]
    if owner:
        user, group = map(int, owner.split(":"))
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, int(crash_signal))
    if os.getppid() != int(parent):
        sys.exit("the parent ended before it could be watched")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
