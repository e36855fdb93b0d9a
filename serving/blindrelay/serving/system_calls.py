"""What landlock(7) leaves open, refused by a filter of system calls (Linux, seccomp(2))."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from blindrelay.serving.errors import StartError


class Machine(NamedTuple):
    """A processor architecture: its AUDIT_ARCH_* value, and its numbers of the system calls that matter."""

    audit: int
    socket: int
    refused: dict[str, int]


# Of the same number on both.
_ANYWHERE: Final = {"io_uring_setup": 425, "fchmodat2": 452, "setxattrat": 463, "removexattrat": 466}

_X86_64: Final = {
    # Programs, also such as are in memory only.
    **{"execve": 59, "execveat": 322},
    # What stays on disk without a file being written: attributes, modes, owners, times.
    **{"setxattr": 188, "lsetxattr": 189, "fsetxattr": 190},
    **{"removexattr": 197, "lremovexattr": 198, "fremovexattr": 199},
    **{"chmod": 90, "fchmod": 91, "fchmodat": 268},
    **{"chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260},
    **{"utime": 132, "utimes": 235, "futimesat": 261, "utimensat": 280},
    # What stays in the kernel after the process: shared memory, semaphores, queues, keyrings.
    **{"shmget": 29, "semget": 64, "msgget": 68, "mq_open": 240},
    **{"add_key": 248, "request_key": 249, "keyctl": 250},
}
_AARCH64: Final = {
    **{"execve": 221, "execveat": 281},
    **{
        "setxattr": 5,
        "lsetxattr": 6,
        "fsetxattr": 7,
        "removexattr": 14,
        "lremovexattr": 15,
        "fremovexattr": 16,
    },
    **{"fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55, "utimensat": 88},
    **{"mq_open": 180, "msgget": 186, "semget": 190, "shmget": 194},
    **{"add_key": 217, "request_key": 218, "keyctl": 219},
}
MACHINES: Final = {
    # io_uring would do the same things out of the filter's sight.
    "x86_64": Machine(0xC000003E, 41, _X86_64 | _ANYWHERE),
    "aarch64": Machine(0xC00000B7, 198, _AARCH64 | _ANYWHERE),
}

_FAMILIES: Final = (2, 10)
"""AF_INET and AF_INET6. A socket of another family reaches local daemons, or the bare network."""

_X32: Final = 0x40000000
"""From here on they are the calls of x86-64's 32-bit twin, under other numbers."""

# struct seccomp_data, and the instructions of <linux/bpf_common.h> that are needed.
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _FAIL, _KILL = 0x7FFF0000, 0x00050000, 0x80000000

_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def refuse_system_calls() -> None:
    """From now on this thread, and every one that it starts, gets EACCES for what `MACHINES` lists.

    A socket may be of IPv4 or IPv6 only (else EAFNOSUPPORT). Needs PR_SET_NO_NEW_PRIVS to be set. Raises
    StartError on another architecture, or if the kernel refuses.
    """
    machine = MACHINES.get(platform.machine())
    if machine is None:
        raise StartError(f"sandbox = true knows {' and '.join(MACHINES)}, not {platform.machine()}")
    instructions = list(_filter(machine))
    program = _Program(len(instructions), b"".join(instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        name = errno.errorcode.get(ctypes.get_errno(), "an unknown error")
        raise StartError(f"the sandbox was refused: seccomp failed with {name}")


def _filter(machine: Machine) -> Iterator[bytes]:
    yield _instruction(_LOAD, _ARCHITECTURE_AT)
    yield _instruction(_IF_EQUAL, machine.audit, 1, 0)
    yield _instruction(_RETURN, _KILL)
    yield _instruction(_LOAD, _NUMBER_AT)
    yield _instruction(_IF_AT_LEAST, _X32, 0, 1)
    yield _instruction(_RETURN, _FAIL | errno.EACCES)
    for number in machine.refused.values():
        yield _instruction(_IF_EQUAL, number, 0, 1)
        yield _instruction(_RETURN, _FAIL | errno.EACCES)
    yield _instruction(_IF_EQUAL, machine.socket, 1, 0)
    yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_LOAD, _FIRST_ARGUMENT_AT)
    for family in _FAMILIES:
        yield _instruction(_IF_EQUAL, family, 0, 1)
        yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_RETURN, _FAIL | errno.EAFNOSUPPORT)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
