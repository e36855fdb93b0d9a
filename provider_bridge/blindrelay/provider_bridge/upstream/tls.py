"""TLS towards a provider: whom to trust, and the handshake."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path
from typing import Final

import httpx

from blindrelay.provider_bridge.upstream.connecting import readable, writable
from blindrelay.provider_bridge.upstream.failures import Failure, UpstreamError
from blindrelay.provider_bridge.upstream.socket_stream import SocketStream
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
"""By OpenSSL's code (x509_vfy.h). Its own words would name the host that the bridge connects to."""


@cache
def public_roots() -> ssl.SSLContext:
    """Trusts the public authorities that httpx trusts, and nothing from the environment."""
    return _http_only(httpx.create_ssl_context(trust_env=False))


def only_roots_of(path: Path) -> ssl.SSLContext:
    """Trusts the authorities of a PEM file and no others. Raises ConfigError."""
    roots = read_bytes(path, "CA certificate")
    try:
        return _http_only(ssl.create_default_context(cadata=roots.decode("ascii")))
    except (ssl.SSLError, ValueError):
        raise ConfigError(f"{path}: not a PEM file of CA certificates") from None


async def secured(stream: SocketStream, context: ssl.SSLContext, host: str) -> SocketStream:
    """The stream with TLS; the one that is given is used up. Raises UpstreamError."""
    bare = stream.detach()
    try:
        wrapped = context.wrap_socket(bare, server_hostname=host, do_handshake_on_connect=False)
    except OSError:
        bare.close()
        raise _handshake_failed() from None
    try:
        await _shake_hands(wrapped)
        return SocketStream(wrapped)
    except ssl.SSLCertVerificationError as error:
        wrapped.close()
        raise _not_accepted(error.verify_code) from None
    except OSError:
        wrapped.close()
        raise _handshake_failed() from None
    except BaseException:
        wrapped.close()
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
    return UpstreamError(
        Failure.TLS_CERTIFICATE,
        f"the provider could not be reached: its TLS certificate was not accepted, {reason}",
    )


def _handshake_failed() -> UpstreamError:
    return UpstreamError(Failure.TLS_HANDSHAKE, "the provider could not be reached: the TLS handshake failed")
