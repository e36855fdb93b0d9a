"""Runs a program as a systemd unit would: under_unit.py CALL,CALL,… FOLDER PROGRAM ARGUMENT…

No writable path but FOLDER, as StateDirectory= gives one, and none at all if that is "-" (every mount of its
own mount namespace is read-only: more than ProtectSystem=strict).
NoNewPrivileges, MemoryDenyWriteExecute, LimitCORE=0, SystemCallFilter with EPERM, and a user without
capabilities, as DynamicUser= has. Root only.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import resource
import struct
import sys

from blindrelay.testbed.unprivileged import become_nobody

CLONE_NEWNS = 0x20000
MOUNT_SETATTR = 442
HERE, RECURSIVE = -100, 0x8000
READ_ONLY, PRIVATE = 1, 1 << 18
MS_BIND = 4096
PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 38, 65
REFUSE, ALLOW = 0x00050001, 0x7FFF0000


def main() -> None:
    allowed, writable, *command = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    become_nobody()
    checked(libc.unshare(CLONE_NEWNS))
    if writable != "-":
        folder = os.fsencode(writable)
        checked(libc.mount(folder, folder, None, MS_BIND, None))
    set_mounts(libc, b"/", RECURSIVE, to_set=READ_ONLY)
    if writable != "-":
        set_mounts(libc, folder, 0, to_clear=READ_ONLY)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    checked(libc.prctl(PR_SET_MDWE, 1, 0, 0, 0))
    allow_only(allowed.split(","))
    os.execv(command[0], command)


def set_mounts(libc: ctypes.CDLL, path: bytes, flags: int, *, to_set: int = 0, to_clear: int = 0) -> None:
    """mount_setattr(2)."""
    attributes = struct.pack("QQQQ", to_set, to_clear, PRIVATE, 0)
    checked(libc.syscall(MOUNT_SETATTR, HERE, path, flags, attributes, len(attributes)))


def allow_only(names: list[str]) -> None:
    """As SystemCallFilter= does, with libseccomp. Calls that this machine does not have are left out."""
    seccomp = ctypes.CDLL(ctypes.util.find_library("seccomp"))
    seccomp.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(seccomp.seccomp_init(REFUSE))
    for name in names:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            checked(seccomp.seccomp_rule_add(rules, ALLOW, number, 0))
    checked(seccomp.seccomp_load(rules))


def checked(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main()
