"""Ports for servers that have to know theirs before they start, or have it again after a restart."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST: Final = 10_000
_ATTEMPTS: Final = 20

_given: Final[set[int]] = set()


def free_address() -> str:
    """A free loopback address, "127.0.0.1:PORT"."""
    return f"127.0.0.1:{free_port()}"


def free_port() -> int:
    """A free TCP port of the loopback address.

    It is outside the range from which the system takes ports for outgoing connections and for servers that
    ask for any: one of those could take it before its server starts. While this process runs, no other
    process of this user is given it. Where no port is outside that range, it is one that the system chooses.
    """
    with suppress(OSError, ValueError):
        highest = int(_RANGE.read_text().split()[0])
        for _ in range(_ATTEMPTS if highest > _LOWEST else 0):
            port = _LOWEST + secrets.randbelow(highest - _LOWEST)
            if _is_ours(port) and _is_free(port):
                return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_ours(port: int) -> bool:
    """Whether this process could claim the port: it locks one byte for it until it ends (fcntl(2))."""
    if port in _given:
        return False
    try:
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except BlockingIOError:
        return False
    _given.add(port)
    return True


@cache
def _claims() -> int:
    """The file in which all processes of this user lock bytes. It stays open: to close it unlocks them."""
    path = Path(tempfile.gettempdir(), f"blindrelay-ports-{os.geteuid()}")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
