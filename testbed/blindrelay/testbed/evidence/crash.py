"""What a crash leaves: a core, or nothing (core(5))."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import Final

_PATTERN: Final = Path("/proc/sys/kernel/core_pattern")


def allow_cores() -> None:
    """Lets what we start leave cores of any size, as far as we may: who wants none has to see to it."""
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def where_cores_go() -> str:
    """The kernel's pattern: a file's name, or a program after "|"."""
    return _PATTERN.read_text().strip()


def crash(pid: int) -> bool:
    """Ends a child by SIGSEGV, and says whether the kernel has dumped its core, to a file or a program.

    The child stays to be waited for.
    """
    os.kill(pid, signal.SIGSEGV)
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return ended is not None and ended.si_code == os.CLD_DUMPED
