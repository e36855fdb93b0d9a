"""What lies outside a wall: servers of this machine, and a program that tries to reach them."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any


class Outside:
    """Servers of this machine that no program behind the wall may reach."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._sockets: dict[str, socket.socket] = {}
        servers: list[tuple[str, int, int, Any]] = [
            ("tcp", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            ("tcp6", socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)),
            ("udp", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            ("unix", socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "stream")),
            ("abstract", socket.AF_UNIX, socket.SOCK_STREAM, f"\0blindrelay-{os.getpid()}"),
            ("datagrams", socket.AF_UNIX, socket.SOCK_DGRAM, str(folder / "datagrams")),
        ]
        for name, family, kind, address in servers:
            server = stack.enter_context(socket.socket(family, kind))
            server.bind(address)
            if kind == socket.SOCK_STREAM:
                server.listen()
            server.setblocking(False)
            self._sockets[name] = server

    @property
    def addresses(self) -> dict[str, Any]:
        """By name; those of Unix sockets as text."""
        found = {name: server.getsockname() for name, server in self._sockets.items()}
        return {name: os.fsdecode(at) if isinstance(at, bytes) else at for name, at in found.items()}

    @property
    def descriptor(self) -> int:
        """Of one of them, in this process."""
        return self._sockets["tcp"].fileno()

    def reached(self) -> set[str]:
        """The names of those that somebody has connected or sent something to."""
        return {name for name, server in self._sockets.items() if self._was_reached(server)}

    @staticmethod
    def _was_reached(server: socket.socket) -> bool:
        try:
            if server.type == socket.SOCK_DGRAM:
                server.recv(100)
            else:
                server.accept()[0].close()
        except BlockingIOError:
            return False
        return True


# Tries each address, and what reaches around a network namespace; prints the outcomes.
TRY_EVERYTHING = """
import ctypes, errno, fcntl, json, os, socket, sys

addresses, outcome = json.loads(sys.argv[1]), {}

def attempt(name, way):
    try:
        way()
        outcome[name] = "done"
    except OSError as error:
        outcome[name] = errno.errorcode[error.errno]

def connect(family, address):
    with socket.socket(family) as each:
        each.settimeout(5)
        each.connect(tuple(address) if isinstance(address, list) else address)

def send(family, address):
    with socket.socket(family, socket.SOCK_DGRAM) as each:
        each.sendto(b"x", tuple(address) if isinstance(address, list) else address)

def send_by_a_pair():
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        one.sendto(b"x", addresses["datagrams"])

def fast_open():
    with socket.socket() as each:
        each.sendto(b"x", 0x20000000, tuple(addresses["tcp"]))

def call(number, *arguments):
    if ctypes.CDLL(None, use_errno=True).syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")

def join_a_network():
    descriptor = os.open(f"/proc/{os.environ['OUTSIDE']}/ns/net", os.O_RDONLY)
    call({"x86_64": 308}.get(os.uname().machine, 268), descriptor, 0x40000000)

def take_a_socket():
    call(438, os.pidfd_open(int(os.environ["OUTSIDE"])), int(os.environ["OUTSIDE_SOCKET"]), 0)

def type_a_command():
    fcntl.ioctl(0, 0x5412, b"x")

attempt("tcp", lambda: connect(socket.AF_INET, addresses["tcp"]))
attempt("tcp6", lambda: connect(socket.AF_INET6, addresses["tcp6"]))
attempt("udp", lambda: send(socket.AF_INET, addresses["udp"]))
attempt("unix", lambda: connect(socket.AF_UNIX, addresses["unix"]))
attempt("abstract", lambda: connect(socket.AF_UNIX, addresses["abstract"]))
attempt("datagrams", lambda: send(socket.AF_UNIX, addresses["datagrams"]))
attempt("a pair", send_by_a_pair)
attempt("fast open", fast_open)
attempt("far away", lambda: connect(socket.AF_INET, ("192.0.2.1", 443)))
attempt("far away, 6", lambda: connect(socket.AF_INET6, ("2001:db8::1", 443)))
attempt("DNS", lambda: send(socket.AF_INET, ("192.0.2.1", 53)))
attempt("packets", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt("virtual machines", lambda: connect(40, (2, 1)))
attempt("io_uring", lambda: call(425, 1, ctypes.create_string_buffer(256)))
attempt("another network", join_a_network)
attempt("another's socket", take_a_socket)
attempt("typing", type_a_command)

def send_raw():
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as each:
        each.sendto(b"x" * 64, ("192.0.2.1", 0))

attempt("raw", send_raw)
print(json.dumps(outcome))
"""
