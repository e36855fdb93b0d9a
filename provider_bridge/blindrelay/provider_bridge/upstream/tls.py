"""TLS to a provider: trusted authorities and the handshake."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path
from typing import Final

import certifi

from blindrelay.provider_bridge.upstream.failures import Failure, UpstreamError, unreachable
from blindrelay.provider_bridge.upstream.socket_stream import SocketStream
from blindrelay.provider_bridge.upstream.tcp import readable, writable
from blindrelay.serving import ConfigError, read_bytes

_REASONS: Final = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is signed by itself",
    19: "the bridge does not trust its issuer",
    20: "the bridge does not trust its issuer",
    21: "the bridge does not trust its issuer",
    62: "it is for another name",
    64: "it is for another address",
}
"""By OpenSSL's error code (x509_vfy.h). OpenSSL's own text would name the target."""


@cache
def public_roots() -> ssl.SSLContext:
    """Trusts Mozilla's list of public authorities, whatever the environment says."""
    return _http_only(ssl.create_default_context(cafile=certifi.where()))


def only_roots_of(path: Path) -> ssl.SSLContext:
    """Trusts the authorities of a PEM file and no others. Raises ConfigError."""
    roots = read_bytes(path, "CA certificate")
    try:
        return _http_only(ssl.create_default_context(cadata=roots.decode("ascii")))
    except (ssl.SSLError, ValueError):
        raise ConfigError(f"{path}: not a PEM file of CA certificates") from None


async def start_tls(stream: SocketStream, context: ssl.SSLContext, host: str) -> SocketStream:
    """A new stream with TLS on the given one's socket. Raises UpstreamError."""
    sock = stream.detach()
    try:
        # The wrapped socket takes over the descriptor.
        sock = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        await _shake_hands(sock)
        return SocketStream(sock)
    except ssl.SSLCertVerificationError as error:
        sock.close()
        raise _not_accepted(error.verify_code) from None
    except OSError:
        sock.close()
        raise unreachable(Failure.TLS_HANDSHAKE, "the TLS handshake failed") from None
    except BaseException:
        sock.close()
        raise


async def _shake_hands(wrapped: ssl.SSLSocket) -> None:
    while True:
        try:
            wrapped.do_handshake()
        except ssl.SSLWantReadError:
            await readable(wrapped)
        except ssl.SSLWantWriteError:
            await writable(wrapped)
        else:
            return


def _http_only(context: ssl.SSLContext) -> ssl.SSLContext:
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def _not_accepted(verify_code: int) -> UpstreamError:
    reason = _REASONS.get(verify_code, "it is not valid")
    return unreachable(Failure.TLS_CERTIFICATE, f"its TLS certificate was not accepted, {reason}")
