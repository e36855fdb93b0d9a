"""Ports for servers that have to know theirs before they start, or have it again after a restart."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST: Final = 10_000
_ATTEMPTS: Final = 20


def free_address() -> str:
    """A free loopback address, "127.0.0.1:PORT"."""
    return f"127.0.0.1:{free_port()}"


def free_port() -> int:
    """A free TCP port of the loopback address.

    The system gives it to no outgoing connection and to no server that asks for any port: one of those could
    take it before its server starts. Where there are no such ports, it is one that the system gives.
    """
    with suppress(OSError, ValueError):
        highest = int(_RANGE.read_text().split()[0])
        for _ in range(_ATTEMPTS if highest > _LOWEST else 0):
            port = _LOWEST + secrets.randbelow(highest - _LOWEST)
            if _is_free(port):
                return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
