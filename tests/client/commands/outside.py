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
    def environment(self) -> dict[str, str]:
        """This process, and a socket of it."""
        return {"OUTSIDE": str(os.getpid()), "OUTSIDE_SOCKET": str(self._sockets["tcp"].fileno())}

    def reached(self) -> set[str]:
        """The names of those that somebody has connected or sent something to."""
        return {name for name, server in self._sockets.items() if _was_reached(server)}


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
from socket import AF_INET, AF_INET6, AF_UNIX
addresses, outcome = json.loads(sys.argv[1]), {}
def at(name):
    return tuple(addresses[name]) if isinstance(addresses[name], list) else addresses[name]
def connect(family, address):
    with socket.socket(family) as each:
        each.settimeout(5)
        each.connect(address)
def send(family, address, kind=socket.SOCK_DGRAM, protocol=0, flags=0):
    with socket.socket(family, kind, protocol) as each:
        each.sendto(b"x" * 64, flags, address)
def send_by_a_pair():
    one, other = socket.socketpair(AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        one.sendto(b"x", at("datagrams"))
def call(number, *arguments):
    if ctypes.CDLL(None, use_errno=True).syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
def join_a_network():
    descriptor = os.open(f"/proc/{os.environ['OUTSIDE']}/ns/net", os.O_RDONLY)
    call({"x86_64": 308}.get(os.uname().machine, 268), descriptor, 0x40000000)
def take_a_socket():
    call(438, os.pidfd_open(int(os.environ["OUTSIDE"])), int(os.environ["OUTSIDE_SOCKET"]), 0)
for name, way in {
    "tcp": lambda: connect(AF_INET, at("tcp")),
    "tcp6": lambda: connect(AF_INET6, at("tcp6")),
    "udp": lambda: send(AF_INET, at("udp")),
    "unix": lambda: connect(AF_UNIX, at("unix")),
    "abstract": lambda: connect(AF_UNIX, at("abstract")),
    "datagrams": lambda: send(AF_UNIX, at("datagrams")),
    "a pair": send_by_a_pair,
    "fast open": lambda: send(AF_INET, at("tcp"), socket.SOCK_STREAM, flags=0x20000000),
    "far away": lambda: connect(AF_INET, ("192.0.2.1", 443)),
    "far away, 6": lambda: connect(AF_INET6, ("2001:db8::1", 443)),
    "DNS": lambda: send(AF_INET, ("192.0.2.1", 53)),
    "packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "raw": lambda: send(AF_INET, ("192.0.2.1", 0), socket.SOCK_RAW, socket.IPPROTO_UDP),
    "virtual machines": lambda: connect(40, (2, 1)),
    "io_uring": lambda: call(425, 1, ctypes.create_string_buffer(256)),
    "another network": join_a_network,
    "another's socket": take_a_socket,
    "typing": lambda: fcntl.ioctl(0, 0x5412, b"x"),
}.items():
    try:
        way()
        outcome[name] = "done"
    except OSError as error:
        outcome[name] = errno.errorcode[error.errno]
print(json.dumps(outcome))
"""
