"""`blindrelay doctor` looks at the relay's TLS as gRPC would."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from .conftest import PATIENCE, Run
from .test_doctor import PIN, expect


@contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[int]:
    """A server that only shakes hands; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    taken, _ = listening.accept()
                    taken.settimeout(PATIENCE)
                    with taken, suppress(OSError):
                        context.wrap_socket(taken, server_side=True).close()

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        server.join(PATIENCE)


def issue(authority: trustme.CA, name: str = "127.0.0.1", days: int = 1) -> trustme.LeafCert:
    """A certificate for this name that ends in so many days."""
    ends = datetime.now(UTC) + timedelta(days=days)
    return authority.issue_cert(name, not_before=ends - timedelta(days=9), not_after=ends)


CA = trustme.CA()


@pytest.mark.parametrize(
    ("certificate", "protocol", "check", "detail"),
    [
        (issue(trustme.CA()), "h2", "tls", "unable to get local issuer certificate"),
        (issue(CA, "relay.example"), "h2", "tls", "IP address mismatch"),
        (issue(CA, days=-1), "h2", "tls", "certificate has expired"),
        (issue(CA), "http/1.1", "tls", "HTTP/2"),
        (issue(CA), "h2", "token", "no connection to the relay"),
    ],
)
def test_tls_handshake_is_checked(
    certificate: trustme.LeafCert, protocol: str, check: str, detail: str, run: Run, tmp_path: Path
) -> None:
    CA.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    context.set_alpn_protocols([protocol])
    with tls_server(context) as port:
        relay = f"blindrelay://127.0.0.1:{port}?bridge={PIN}"
        expect(run, f"{relay}&ca={tmp_path / 'ca.pem'}", check, detail)
        expect(run, relay, "tls", "")  # by gRPC's own roots
