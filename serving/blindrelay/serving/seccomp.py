"""The seccomp filter: a system call that is not listed fails as if it did not exist (Linux, seccomp(2))."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from blindrelay.serving.errors import StartError
from blindrelay.serving.seccomp_allowlist import (
    CALLS,
    FORKING,
    NUMBERS_OF_CHECKED,
    THREADS_ONLY,
    Checks,
    Numbers,
    checked_calls,
)


class Machine(NamedTuple):
    """A processor architecture: its AUDIT_ARCH_* value, and its column in the allowlist."""

    audit: int
    column: int


MACHINES: Final = {"x86_64": Machine(0xC000003E, 0), "aarch64": Machine(0xC00000B7, 1)}

NUMBERS: Final[Numbers] = {**CALLS, **NUMBERS_OF_CHECKED}

# Offsets in struct seccomp_data, and instructions of <linux/bpf_common.h>.
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_LOAD, _AND, _IF_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
_ALLOW, _FAIL, _KILL = 0x7FFF0000, 0x00050000, 0x80000000

_UNKNOWN: Final = _FAIL | errno.ENOSYS
"""The answer to a call that is not listed. C libraries assume an older kernel, and use an older call."""

_REFUSED: Final = _FAIL | errno.EACCES
"""The answer to a listed call with arguments that are not allowed."""

_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def allow_only_listed_calls(*, may_fork: bool, may_look_up: bool) -> None:
    """Allows this thread, and every thread and process that it starts, the listed calls only. Permanent.

    `may_fork` allows processes as well as threads. `may_look_up` allows the UDP sockets that DNS needs.
    PR_SET_NO_NEW_PRIVS must be set. Raises StartError on another architecture, or if the kernel refuses.
    """
    checks = checked_calls(may_look_up=may_look_up) | dict(FORKING if may_fork else THREADS_ONLY)
    # Calls with checks come first: the kernel caches the results of the others.
    _install(_filter(_machine(), {**checks, **dict.fromkeys(CALLS, ())}, otherwise=_UNKNOWN))


def forbid_processes() -> None:
    """Lets this thread start threads but no processes from now on. Raises StartError as above."""
    _install(_filter(_machine(), THREADS_ONLY, otherwise=_ALLOW))


def _machine() -> Machine:
    machine = MACHINES.get(platform.machine())
    if machine is None:
        raise StartError(f"sandbox = true works on {' and '.join(MACHINES)}, not on {platform.machine()}")
    return machine


def _install(instructions: Iterator[bytes]) -> None:
    code = list(instructions)
    program = _Program(len(code), b"".join(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        name = errno.errorcode.get(ctypes.get_errno(), "an unknown error")
        raise StartError(f"the kernel refused the sandbox: seccomp failed with {name}")


def _filter(machine: Machine, calls: Mapping[str, Checks], otherwise: int) -> Iterator[bytes]:
    yield _instruction(_LOAD, _ARCHITECTURE_AT)
    yield _instruction(_IF_EQUAL, machine.audit, 1, 0)
    yield _instruction(_RETURN, _KILL)
    yield _instruction(_LOAD, _NUMBER_AT)
    for name, checks in calls.items():
        number = NUMBERS[name][machine.column]
        if number is not None:
            body = [*_checked(checks), _instruction(_RETURN, _ALLOW)]
            yield _instruction(_IF_EQUAL, number, 0, len(body))
            yield from body
    yield _instruction(_RETURN, otherwise)


def _checked(checks: Checks) -> Iterator[bytes]:
    """Instructions that refuse the call unless every check passes."""
    for check in checks:
        yield _instruction(_LOAD, _ARGUMENTS_AT + 4 * check.word)
        yield _instruction(_AND, check.mask)
        for left, value in zip(range(len(check.values), 0, -1), check.values, strict=True):
            yield _instruction(_IF_EQUAL, value, left, 0)
        yield _instruction(_RETURN, _REFUSED)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
