"""Runs a program behind a wall: in a network that contains the endpoint and nothing else (Linux).

`walled_program.py` runs this file as a script. It uses only the standard library and needs a process without
threads. It creates a user namespace and a network namespace (user_namespaces(7), network_namespaces(7)). It
sends a listening socket of that network through the given descriptor, waits for a byte, and becomes the
program. A filter of system calls (seccomp(2)) does the rest: it refuses sockets of other families, and
commands typed into the terminal. docs/adr/0024 gives the reasons.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
import platform
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_NEW_USER, _NEW_NET = 0x10000000, 0x40000000
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1
"""SIOCGIFFLAGS, SIOCSIFFLAGS and IFF_UP of netdevice(7)."""


class _Machine(NamedTuple):
    """A processor architecture: its AUDIT_ARCH_* value, and its numbers of system calls."""

    audit: int
    socket: int
    socketpair: int
    ioctl: int


_GENERIC: Final = (198, 199, 29)
_MACHINES: Final = {
    "x86_64": _Machine(0xC000003E, 41, 53, 16),
    "aarch64": _Machine(0xC00000B7, *_GENERIC),
    "riscv64": _Machine(0xC00000F3, *_GENERIC),
}
_IO_URING_SETUP: Final = 425
"""On all machines. io_uring could open sockets unseen by the filter; programs work without it."""

_X32: Final = 0x40000000
"""Higher numbers are x32's calls, the same calls under other numbers."""

_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, 16)
"""AF_NETLINK (16) is how programs ask for their own addresses. All end at the network namespace."""

_PAIRS: Final = (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)
"""Pairs that stay connected to each other. A datagram socket could send to any socket by its path."""

_TYPING: Final = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX type into the terminal. The shell would run that after the program has ended."""

_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_AT, _SECOND_AT = 0, 4, 16, 24
"""Offsets into struct seccomp_data; the low halves of the first two arguments on little-endian machines."""
_LOAD, _AND, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_KIND_MASK: Final = 0xF
"""The bits of a socket's type; higher bits are flags."""


def main() -> None:
    """Arguments: a descriptor, a port, whether Unix sockets are allowed (0 or 1), the command line."""
    descriptor, port, unix, *command = sys.argv[1:]
    channel = socket.socket(fileno=int(descriptor))
    channel.set_inheritable(False)
    _restore_signals()
    try:
        listener = _build(int(port), allow_unix=unix == "1")
    except OSError as error:
        _tell(channel, error)
        sys.exit(1)
    channel.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener.fileno()]))])
    listener.close()
    if not channel.recv(1):
        sys.exit(1)
    try:
        os.execvpe(command[0], command, _environment())  # noqa: S606 (no shell is wanted)
    except OSError as error:
        _tell(channel, error)
        sys.exit(1)


def _restore_signals() -> None:
    """Restores the defaults that Python changed: a program inherits ignored signals."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _environment() -> dict[bytes, bytes]:
    """The original environment: Python itself may have set LC_CTYPE (PEP 538)."""
    variables = Path("/proc/self/environ").read_bytes().rstrip(b"\0").split(b"\0")
    return {name: value for name, _, value in (each.partition(b"=") for each in variables) if name}


def _tell(channel: socket.socket, error: OSError) -> None:
    channel.sendall(b"-" + struct.pack("=i", error.errno or errno.EINVAL))


def _build(port: int, *, allow_unix: bool) -> socket.socket:
    """Puts this process behind the wall; returns a socket that listens there. Raises OSError."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(errno.ENOSYS, "no table of system calls")
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    _checked(libc.unshare(_NEW_USER | _NEW_NET))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    _bring_up_loopback(listener)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    _enter_seccomp(libc, machine, allow_unix=allow_unix)
    return listener


def _bring_up_loopback(any_socket: socket.socket) -> None:
    request = struct.pack("16sH14x", b"lo", 0)
    (flags,) = struct.unpack_from("H", fcntl.ioctl(any_socket, _GET_FLAGS, request), 16)
    fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sH14x", b"lo", flags | _UP))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _enter_seccomp(libc: ctypes.CDLL, machine: _Machine, *, allow_unix: bool) -> None:
    instructions = list(_filter(machine, allow_unix=allow_unix))
    program = _Program(len(instructions), b"".join(instructions))
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0))


def _filter(machine: _Machine, *, allow_unix: bool) -> Iterator[bytes]:
    families = [*_FAMILIES, *([socket.AF_UNIX] if allow_unix else [])]
    yield _instruction(_LOAD, _ARCHITECTURE_AT)
    yield _instruction(_IF_EQUAL, machine.audit, 1, 0)
    yield _instruction(_RETURN, _FAIL | errno.ENOSYS)
    yield _instruction(_LOAD, _NUMBER_AT)
    yield _instruction(_IF_AT_LEAST, _X32, 0, 1)
    yield _instruction(_RETURN, _FAIL | errno.ENOSYS)
    yield _instruction(_IF_EQUAL, _IO_URING_SETUP, 0, 1)
    yield _instruction(_RETURN, _FAIL | errno.ENOSYS)
    yield from _case(machine.socket, [(_LOAD, _FIRST_AT)], families, errno.EAFNOSUPPORT)
    if not allow_unix:
        kind = [(_LOAD, _SECOND_AT), (_AND, _KIND_MASK)]
        yield from _case(machine.socketpair, kind, _PAIRS, errno.EAFNOSUPPORT)
    yield _instruction(_IF_EQUAL, machine.ioctl, 1, 0)
    yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_LOAD, _SECOND_AT)
    for command in _TYPING:
        yield _instruction(_IF_EQUAL, command, 0, 1)
        yield _instruction(_RETURN, _FAIL | errno.EPERM)
    yield _instruction(_RETURN, _ALLOW)


def _case(
    number: int, loading: list[tuple[int, int]], allowed: list[int] | tuple[int, ...], code: int
) -> Iterator[bytes]:
    """Allows a call if its loaded argument is in `allowed`; otherwise the call fails with `code`."""
    after = len(loading) + 2 * len(allowed) + 1
    yield _instruction(_IF_EQUAL, number, 0, after)
    for each in loading:
        yield _instruction(*each)
    for value in allowed:
        yield _instruction(_IF_EQUAL, value, 0, 1)
        yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_RETURN, _FAIL | code)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), "refused")


if __name__ == "__main__":
    main()
