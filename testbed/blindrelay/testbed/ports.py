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


def free_port(count: int = 1) -> int:
    """The first of `count` free TCP ports of the loopback address that follow each other.

    They are outside the range from which the system takes ports for outgoing connections and for servers that
    ask for any: one of those could take them before their server starts. While this process runs, no other
    process of this user is given them. Where no port is outside that range, the system chooses the first.
    """
    with suppress(OSError, ValueError):
        room = int(_RANGE.read_text().split()[0]) - _LOWEST - count + 1
        for _ in range(_ATTEMPTS if room > 0 else 0):
            ports = range(first := _LOWEST + secrets.randbelow(room), first + count)
            if _are_ours(ports) and all(map(_is_free, ports)):
                return first
    while not all(map(_is_free, range((first := _any_port()) + 1, first + count))):
        pass
    return first


def _are_ours(ports: range) -> bool:
    """Whether this process could claim the ports: it locks one byte for each until it ends (fcntl(2))."""
    if not _given.isdisjoint(ports):
        return False
    try:
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, len(ports), ports.start)
    except BlockingIOError:
        return False
    _given.update(ports)
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
        except (OSError, OverflowError):
            return False
    return True


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
