"""Where a server listens: bound once, with the real port or one clear sentence."""

from __future__ import annotations

import errno
import socket

import grpc

from blindrelay.serving.address import Address
from blindrelay.serving.errors import ConfigError, StartError
from blindrelay.serving.tls import OnProblem, ServerTls


def listen(
    server: grpc.aio.Server,
    address: Address,
    tls: ServerTls | None,
    *,
    plaintext: bool = False,
    on_problem: OnProblem = lambda _: None,
) -> Address:
    """Binds the server and returns the address with its real port.

    `on_problem` is told of TLS files that become unusable later (see ServerTls.credentials).

    Raises ConfigError for plaintext off loopback that `plaintext` does not allow, and for unusable TLS files;
    StartError if the port is taken.
    """
    require_tls_off_loopback(address, tls, plaintext=plaintext)
    _probe(address)
    try:
        if tls is None:
            port = server.add_insecure_port(str(address))
        else:
            port = server.add_secure_port(str(address), tls.credentials(on_problem))
    except RuntimeError:
        # gRPC says that it failed and not why; most likely somebody was quicker than we were.
        raise StartError(
            f"cannot listen on {address}: the port is taken, or the address is not ours"
        ) from None
    return Address(address.host, port)


def require_tls_off_loopback(address: Address, tls: ServerTls | None, *, plaintext: bool = False) -> None:
    """Raises ConfigError if other machines could reach a listener that does not encrypt.

    `plaintext` is the operator's word that what carries the connections encrypts them. It contradicts TLS.
    """
    if plaintext and tls is not None:
        raise ConfigError("plaintext = true contradicts the [tls] section: leave one of them out")
    if tls is None and not plaintext and not address.is_loopback:
        raise ConfigError(
            f"listen = {address} is open to other machines: add a [tls] section with certificate and key, "
            "listen on 127.0.0.1, or say plaintext = true if the network between encrypts by itself"
        )


def _probe(address: Address) -> None:
    """Binds the address once and lets go, because the error that the system gives is the one to show."""
    try:
        for family, kind, protocol, _, target in socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(target)
                return
    except socket.gaierror:
        raise ConfigError(f"cannot listen on {address}: no address of that name is known") from None
    except OSError as error:
        raise StartError(f"cannot listen on {address}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is taken; stop the other process or choose another port"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address"
    if error.errno == errno.EACCES:
        return "ports below 1024 need a privilege that this process does not have"
    return error.strerror or "the system refuses"
