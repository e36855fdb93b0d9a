"""A TCP connection to the relay, direct or through the proxy, for checks of a single hop."""

from __future__ import annotations

import socket
from typing import Final

from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.v1.http_proxy import HttpProxy

_MAX_RESPONSE: Final = 65_536
"""Bytes of a proxy's response to CONNECT. Real ones are below 1 KiB."""


def relay_socket(connection: ConnectionConfig, seconds: float) -> socket.socket:
    """A socket that is connected to the relay. Raises OSError, also if the proxy refused."""
    proxy = connection.proxy
    if proxy is None:
        return socket.create_connection((connection.host, connection.port), seconds)
    plain = socket.create_connection((proxy.host, proxy.port), seconds)
    try:
        plain.sendall(proxy.connect_request(connection.target))
        _check_response(proxy, _response_head(plain))
    except BaseException:
        plain.close()
        raise
    return plain


def _response_head(plain: socket.socket) -> bytes:
    response = b""
    # One byte at a time: what follows the head comes from the relay.
    while not response.endswith(b"\r\n\r\n") and len(response) < _MAX_RESPONSE and (byte := plain.recv(1)):
        response += byte
    return response


def _check_response(proxy: HttpProxy, head: bytes) -> None:
    status = head.partition(b" ")[2][:3].decode("ascii", "replace")
    if not head.startswith(b"HTTP/1.") or not status.isdigit():
        raise OSError(0, f"the proxy {proxy.address} does not speak HTTP")
    if status != "200":
        raise OSError(0, proxy.refusal_of(int(status)))
