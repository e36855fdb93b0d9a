"""What a listener's own certificate says, as a client sees it."""

from __future__ import annotations

import contextlib
import ssl
from typing import Any

from blindrelay.serving.errors import ConfigError
from blindrelay.serving.tls import ServerTls


def own_certificate(tls: ServerTls) -> dict[str, Any]:
    """The certificate's fields (ssl.SSLSocket.getpeercert). Nothing if it is not valid now.

    Python's ssl module tells the fields of a verified peer's certificate only. So this makes a TLS handshake
    with itself in memory, and trusts this certificate alone. Raises ConfigError for unusable files.
    """
    tls.configuration()
    server_side, client_side = (
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    )
    server_side.load_cert_chain(tls.certificate, tls.key, password="")
    client_side.load_verify_locations(tls.certificate)
    client_side.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client_side.check_hostname = False
    upward, downward = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(downward, upward)
    server = server_side.wrap_bio(upward, downward, server_side=True)
    try:
        for side in (client, server, client):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLCertVerificationError:
        return {}
    return client.getpeercert() or {}


def own_name(tls: ServerTls) -> str:
    """A name or address that the certificate is for. Raises ConfigError if it has none or has expired."""
    certificate = own_certificate(tls)
    if not certificate:
        raise ConfigError(f"{tls.certificate} has expired, or is not valid yet")
    for kind, name in certificate.get("subjectAltName", ()):
        if kind in ("DNS", "IP Address"):
            return str(name).replace("*", "any")
    raise ConfigError(f"{tls.certificate} is for no host name: it has no subjectAltName")
