"""A TLS handshake with a relay, outside gRPC, which does not say why one fails."""

from __future__ import annotations

import ssl
import time
from importlib import resources
from typing import Any, Final

from blindrelay.client.commands.doctor.relay_socket import relay_socket
from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.errors import ConfigurationError

_DAY: Final = 86_400

_NO_HTTP2: Final = "it does not speak HTTP/2, which gRPC needs: is it a web server?"


class NoHttp2Error(OSError):
    """The server does not offer HTTP/2."""


def handshake(connection: ConnectionConfig, seconds: float) -> str:
    """Shakes hands as gRPC would; describes TLS version and certificate.

    Raises OSError (ssl.SSLCertVerificationError is one), and ConfigurationError for invalid roots.
    """
    context = _context(connection)
    context.set_alpn_protocols(["h2"])
    with (
        relay_socket(connection, seconds) as plain,
        context.wrap_socket(plain, server_hostname=connection.host) as secured,
    ):
        if secured.selected_alpn_protocol() != "h2":
            raise NoHttp2Error(0, _NO_HTTP2)
        return f"{secured.version()}, certificate valid for {_days_left(secured.getpeercert())} days"


def _context(connection: ConnectionConfig) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=_roots(connection))
    except ssl.SSLError:
        raise ConfigurationError(f"ca: {connection.ca} has no certificates in PEM") from None


def _roots(connection: ConnectionConfig) -> str | None:
    """The roots that gRPC would use, in PEM; None means those of this machine."""
    if connection.ca is not None:
        return connection.ca.expanduser().read_text("utf-8-sig")
    own = resources.files("grpc") / "_cython" / "_credentials" / "roots.pem"
    return own.read_text() if own.is_file() else None


def _days_left(certificate: dict[str, Any] | None) -> int:
    ends = ssl.cert_time_to_seconds((certificate or {})["notAfter"])
    return int(ends - time.time()) // _DAY
