"""Network addresses in configuration files: "host:port"."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from blindrelay.serving.errors import ConfigError
from blindrelay.v1.loopback import is_loopback


@dataclass(frozen=True)
class Address:
    """A host (name, IPv4, or IPv6 without brackets) and a TCP port. Port 0 listens on any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it: 127.0.0.0/8, ::1 and the name localhost."""
        return is_loopback(self.host)

    @property
    def from_here(self) -> Address:
        """Where programs of this machine reach a listener that has this address."""
        every = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
        return Address(every.get(self.host, self.host), self.port)


def parse_address(text: str) -> Address:
    """Reads "host:port" or "[ipv6]:port". Raises ConfigError for anything else."""
    host, separator, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = _ipv6(host[1:-1], text)
    elif ":" in host:
        raise ConfigError(f'"{text}": write an IPv6 address in brackets, such as "[::1]:8480"')
    if not (separator and _is_host(host) and port.isascii() and port.isdigit() and int(port) < 65_536):
        raise ConfigError(f'"{text}" is not an address: write host:port, such as "127.0.0.1:8480"')
    return Address(host, int(port))


def _ipv6(host: str, text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(host))
    except ValueError:
        raise ConfigError(f'"{text}": the text in brackets is not an IPv6 address') from None


def _is_host(host: str) -> bool:
    return bool(host) and host.isascii() and all(c.isalnum() or c in "-._:" for c in host)
