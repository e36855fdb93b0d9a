"""A process that can write no file and run no program from some point on (Linux, landlock(7), seccomp(2))."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from typing import Final

from blindrelay.serving.errors import StartError
from blindrelay.serving.system_calls import refuse_system_calls

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
"""System calls, of the same number on every architecture."""

_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38

_READ: Final = (1 << 2) | (1 << 3)
"""Reading files, and listing folders."""

_RIGHTS: Final = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF}
"""By the kernel's version of Landlock: all that it can take away from files and folders."""

_RIGHTS_SINCE_5: Final = 0xFFFF


def forbid_writing_and_programs() -> None:
    """From now on this thread, and every thread that it starts, can read files and nothing more of them.

    To write, to make, move and remove files, and to run programs is refused by the kernel (EACCES), and so is
    whatever else outlives the process (system_calls.py). What is open stays open: the log. There is no way
    back, and threads that run already are not included: to be called before there are any.

    Raises StartError where the kernel has no Landlock or no seccomp.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, 0, _VERSION) if sys.platform == "linux" else -1
    if version < 1:
        raise StartError("sandbox = true needs Linux 5.13 or later with Landlock, and leave to use it")
    rights = struct.pack("Q", _RIGHTS.get(version, _RIGHTS_SINCE_5))
    ruleset = _checked(libc.syscall(_CREATE_RULESET, rights, len(rights), 0))
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        _checked(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", _READ, root), 0))
        _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(root)
        os.close(ruleset)
    refuse_system_calls()


def _checked(result: int) -> int:
    if result < 0:
        raise StartError(f"the sandbox was refused: {os.strerror(ctypes.get_errno())}")
    return result
