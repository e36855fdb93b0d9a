"""Runs a command as nobody, where every file system is mounted read-only (Linux 5.12, mount_setattr(2)).

    python -P read_only.py COMMAND ARGUMENT…

The process becomes the command; only its own view of the file systems changes (mount_namespaces(7)). Needs
CAP_SYS_ADMIN, which a user has in a user namespace of their own.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path
from typing import Final

from blindrelay.testbed.unprivileged import become_nobody

_CLONE_NEWNS: Final = 0x00020000
_MS_REC_PRIVATE: Final = 0x4000 | 1 << 18
_MOUNT_SETATTR: Final = 442
"""A system call of the same number on every architecture."""
_AT_FDCWD: Final = -100
_AT_RECURSIVE: Final = 0x8000
_MOUNT_ATTR_RDONLY: Final = 1


def main() -> None:
    """Raises OSError where it is not allowed, before anything of the command runs."""
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = struct.pack("=QQQQ", _MOUNT_ATTR_RDONLY, 0, 0, 0)
    become_nobody()  # before /proc is read-only, too
    _check(libc.unshare(_CLONE_NEWNS))
    _check(libc.mount(None, b"/", None, _MS_REC_PRIVATE, None))
    _check(libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, attributes, len(attributes)))
    os.execvp(sys.argv[1], sys.argv[1:])


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), "mounting read-only was refused")


def writable_mounts_of(pid: int) -> list[str]:
    """Where a process has file systems mounted that are not read-only for it (proc(5), mountinfo)."""
    lines = Path("/proc", str(pid), "mountinfo").read_text().splitlines()
    mounts = (line.split() for line in lines)
    return [fields[4] for fields in mounts if "ro" not in fields[5].split(",")]


if __name__ == "__main__":
    main()
