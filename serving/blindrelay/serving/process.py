"""Settings of a serving process: no core dumps, private files, freed memory overwritten, many sockets."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from typing import Final

MAX_FILES: Final = 65_536
"""Open files, connections included. The default of many systems is 1,024."""

_OWNER_ONLY: Final = 0o077
_PR_SET_DUMPABLE: Final = 4
"""As in <linux/prctl.h>."""
_M_PERTURB: Final = -6
"""As in glibc's <malloc.h>."""
_FILLER: Final = 0x55


def leave_no_traces() -> None:
    """Turns core dumps off, and makes new files private: memory contains tokens and keys.

    On Linux it also makes the process not dumpable (prctl(2)). A core handler ignores the limit. Other
    processes of the same user could attach to it, or read its memory in /proc.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(_OWNER_ONLY)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        _overwrite_freed_memory()


def _overwrite_freed_memory() -> None:
    """Makes glibc overwrite freed memory, in blocks of more than a kilobyte (mallopt(3)).

    Messages are erased then, even if nothing reuses their memory. Other C libraries do not offer this.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_PERTURB, _FILLER)


def allow_many_connections() -> None:
    """Raises the limit of open files as far as permitted, up to MAX_FILES."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if most == resource.RLIM_INFINITY else min(most, MAX_FILES)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
