"""Ports that a part has again after a restart."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST: Final = 10_000
_ATTEMPTS: Final = 20


def any_address() -> str:
    """A free loopback address, "127.0.0.1:PORT", for a part's first start.

    The system gives its port to no outgoing connection: one of those could take it while the part is down. If
    there are no such ports, it is port 0, for any.
    """
    with suppress(OSError, ValueError):
        highest = int(_RANGE.read_text().split()[0])
        for _ in range(_ATTEMPTS if highest > _LOWEST else 0):
            port = _LOWEST + secrets.randbelow(highest - _LOWEST)
            if _is_free(port):
                return f"127.0.0.1:{port}"
    return "127.0.0.1:0"


def free_address() -> str:
    """As any_address(), never with port 0."""
    address = any_address()
    if not address.endswith(":0"):
        return address
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
