"""Landlock: takes away a process's access to files, ports and other processes (Linux, landlock(7))."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from blindrelay.serving.errors import StartError

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
"""System calls, with the same number on every architecture."""

_ASK_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_NET_PORT: Final = 2
_PR_SET_NO_NEW_PRIVS: Final = 38

_READ_FILE: Final = 1 << 2
_READ_FOLDER: Final = 1 << 3
_BIND: Final = 1 << 0
_CONNECT: Final = 1 << 1

_FILE_RIGHTS: Final = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF}
"""All rights on files and folders that each version of Landlock can take away."""

_FILE_RIGHTS_SINCE_5: Final = 0xFFFF

_PORTS_SINCE: Final = 4
_SCOPES_SINCE: Final = 6
_SCOPES: Final = 0b11
"""Connections to abstract Unix sockets, and signals, of processes outside."""


def landlock_version() -> int:
    """The kernel's version of Landlock, or 0 if it has none or forbids it."""
    if sys.platform != "linux":
        return 0
    return max(0, int(ctypes.CDLL(None).syscall(_CREATE_RULESET, None, 0, _ASK_VERSION)))


def restrict(readable: Iterable[Path], bind: Iterable[int], connect: Iterable[int]) -> None:
    """Restricts this thread, and whatever it starts, permanently.

    It can read below these paths, and do nothing else with files. Paths that do not exist are skipped. TCP
    sockets can use only these ports (Linux 6.7), except that listen() without bind() picks any free port.
    Abstract Unix sockets and processes outside cannot be reached (Linux 6.12). Sets PR_SET_NO_NEW_PRIVS.
    Raises StartError if the kernel has no Landlock.
    """
    version = landlock_version()
    if version < 1:
        raise StartError("sandbox = true needs Linux 5.13 or later, with Landlock enabled and permitted")
    libc = ctypes.CDLL(None, use_errno=True)
    handled = _handled(version)
    ruleset = _checked(libc.syscall(_CREATE_RULESET, handled, len(handled), 0))
    try:
        for path in readable:
            _allow_reading(libc, ruleset, path)
        if version >= _PORTS_SINCE:
            for right, ports in ((_BIND, bind), (_CONNECT, connect)):
                for port in ports:
                    rule = struct.pack("=QQ", right, port)
                    _checked(libc.syscall(_ADD_RULE, ruleset, _NET_PORT, rule, 0))
        _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _handled(version: int) -> bytes:
    """struct landlock_ruleset_attr, with the fields that this version knows."""
    attributes = struct.pack("=Q", _FILE_RIGHTS.get(version, _FILE_RIGHTS_SINCE_5))
    if version >= _PORTS_SINCE:
        attributes += struct.pack("=Q", _BIND | _CONNECT)
    if version >= _SCOPES_SINCE:
        attributes += struct.pack("=Q", _SCOPES)
    return attributes


def _allow_reading(libc: ctypes.CDLL, ruleset: int, path: Path) -> None:
    try:
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rights = _READ_FILE | (_READ_FOLDER if path.is_dir() else 0)
        _checked(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, target), 0))
    finally:
        os.close(target)


def _checked(result: int) -> int:
    if result < 0:
        raise StartError(f"the kernel refused the sandbox: {os.strerror(ctypes.get_errno())}")
    return result
