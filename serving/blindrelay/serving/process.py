"""What a process that must leave no traces, and must not run short of sockets, does first."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from typing import Final

MAX_FILES: Final = 65_536
"""Open files at most. Connections count among them, and many systems begin with 1,024."""

_OWNER_ONLY: Final = 0o077
_PR_SET_DUMPABLE: Final = 4
"""As in <linux/prctl.h>."""
_M_PERTURB: Final = -6
"""As in glibc's <malloc.h>."""
_FILLER: Final = 0x55


def leave_no_traces() -> None:
    """No core dumps, whatever the shell allows, and files for nobody else: memory holds tokens and keys.

    On Linux the process is not dumpable either (prctl(2)): what handles cores as a program heeds no limit,
    and other processes of the same user could attach to it or read its memory in /proc.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(_OWNER_ONLY)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        _overwrite_freed_memory()


def _overwrite_freed_memory() -> None:
    """Has glibc write over memory that is given back, where it is more than a kilobyte (mallopt(3)).

    What has passed through is gone then, though nobody needed the room yet. Other C libraries have none.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_PERTURB, _FILLER)


def allow_many_connections() -> None:
    """Raises the limit of open files as far as we may, up to MAX_FILES."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if most == resource.RLIM_INFINITY else min(most, MAX_FILES)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
