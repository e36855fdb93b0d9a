"""`blindrelay doctor` looks at the relay's TLS as gRPC would."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from .conftest import PATIENCE, Run
from .test_doctor import PIN, examined


@contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[int]:
    """A server that only shakes hands; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    taken, _ = listening.accept()
                except OSError:
                    return
                taken.settimeout(PATIENCE)
                try:
                    context.wrap_socket(taken, server_side=True).close()
                except OSError:
                    taken.close()

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        server.join(PATIENCE)


def leaf(name: str = "127.0.0.1", days: int = 1) -> Callable[[trustme.CA], trustme.LeafCert]:
    """Issues a certificate for this name that ends in so many days."""
    ends = datetime.now(UTC) + timedelta(days=days)
    return lambda ca: ca.issue_cert(name, not_before=ends - timedelta(days=9), not_after=ends)


@pytest.mark.parametrize(
    ("certificate", "protocol", "check", "message"),
    [
        (
            lambda _: trustme.CA().issue_cert("127.0.0.1"),
            "h2",
            "tls",
            "unable to get local issuer certificate",
        ),
        (leaf("relay.example"), "h2", "tls", "IP address mismatch"),
        (leaf(days=-1), "h2", "tls", "certificate has expired"),
        (leaf(), "http/1.1", "tls", "HTTP/2"),
        (leaf(), "h2", "token", "no connection to the relay"),
    ],
)
def test_tls_handshake_is_checked(
    certificate: Callable[[trustme.CA], trustme.LeafCert],
    protocol: str,
    check: str,
    message: str,
    run: Run,
    tmp_path: Path,
) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate(ca).configure_cert(context)
    context.set_alpn_protocols([protocol])
    with tls_server(context) as port:
        relay = f"blindrelay://127.0.0.1:{port}?bridge={PIN}"
        failed = examined(run, "--relay", f"{relay}&ca={tmp_path / 'ca.pem'}")
        assert examined(run, "--relay", relay)["check"] == "tls"  # by gRPC's own roots
    assert failed["check"] == check
    assert message in failed["detail"]
