"""Binds a server to its address, and explains in one sentence why that failed."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator

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
    share_port: bool = False,
) -> Address:
    """Binds the server and returns the address with its real port.

    `on_problem` is called when TLS files become unusable later (see ServerTls.credentials). With
    `share_port`, another process has reserved the port, and the server's options allow sharing it too.

    Raises ConfigError for unusable TLS files, and for plaintext off loopback unless `plaintext` allows it.
    Raises StartError if the port is taken.
    """
    require_tls_off_loopback(address, tls, plaintext=plaintext)
    if not share_port:
        with bound(address):
            pass  # the system's error is clearer than gRPC's
    try:
        if tls is None:
            port = server.add_insecure_port(str(address))
        else:
            port = server.add_secure_port(str(address), tls.credentials(on_problem))
    except RuntimeError:
        # gRPC does not say why it failed. Most likely the port was taken a moment ago.
        raise StartError(
            f"cannot listen on {address}: the port is taken, or this machine does not have the address"
        ) from None
    return Address(address.host, port)


def require_tls_off_loopback(address: Address, tls: ServerTls | None, *, plaintext: bool = False) -> None:
    """Raises ConfigError if other machines could reach a listener that does not encrypt.

    `plaintext` is the operator's statement that the network itself encrypts. It contradicts TLS.
    """
    if plaintext and tls is not None:
        raise ConfigError("plaintext = true contradicts the [tls] section: leave one of them out")
    if tls is None and not plaintext and not address.is_loopback:
        raise ConfigError(
            f"listen = {address} is open to other machines: add a [tls] section or listen on 127.0.0.1. "
            "Set plaintext = true if the network itself encrypts"
        )


@contextlib.contextmanager
def reserved_port(address: Address) -> Iterator[Address]:
    """Reserves a port that servers of child processes will share. Yields the address with its real port.

    Only processes of the same user can share the port. Connections go to the processes that listen. Raises
    ConfigError and StartError as listen() does.
    """
    with bound(address):
        pass  # fails if another process has the port, even if it would share it
    with bound(address, share=True) as holder:
        yield Address(address.host, holder.getsockname()[1])


def bound(address: Address, *, share: bool = False) -> socket.socket:
    """A socket bound to the address, not listening. Raises ConfigError, StartError."""
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with contextlib.ExitStack() as stack:
            bound = stack.enter_context(socket.socket(family, kind, protocol))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if share:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.bind(target)
            stack.pop_all()
            return bound
    except socket.gaierror:
        raise ConfigError(f"cannot listen on {address}: the name is unknown") from None
    except OSError as error:
        raise StartError(f"cannot listen on {address}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is taken; stop the other process or choose another port"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address"
    if error.errno == errno.EACCES:
        return "ports below 1024 need a privilege that this process does not have"
    return error.strerror or "the system refused it"
