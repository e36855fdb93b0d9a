"""A host outside that accepts every connection, so that a leak does not fail unseen."""

from __future__ import annotations

import socket
import threading
from typing import Final, Self

_ANSWER: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}"

_REFUSED: Final = b"\x81\x85"
"""A response that refuses (RFC 1035, section 4.1.1)."""


class Sink:
    """Listens at an address on the ports of HTTP, HTTPS and DNS, and on loopback as a proxy.

    Attributes:
        proxy: the URL of a proxy that accepts everything.
    """

    def __init__(self, address: str) -> None:
        self._listeners = [socket.create_server((address, port)) for port in (80, 443)]
        self._listeners.append(socket.create_server(("127.0.0.1", 0)))
        port = self._listeners[-1].getsockname()[1]
        self.proxy = f"http://127.0.0.1:{port}"
        self.ports = {80, 443, 53, port}
        self._names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._names.bind(("192.0.2.53", 53))

    def __enter__(self) -> Self:
        for listener in self._listeners:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        threading.Thread(target=self._refuse_names, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for listener in (*self._listeners, self._names):
            listener.close()

    def _refuse_names(self) -> None:
        while True:
            try:
                question, address = self._names.recvfrom(4_096)
                self._names.sendto(question[:2] + _REFUSED + question[4:], address)
            except OSError:
                return

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_take, args=(connection,), daemon=True).start()


def _take(connection: socket.socket) -> None:
    with connection:
        connection.settimeout(10)
        try:
            while connection.recv(65_536):
                connection.sendall(_ANSWER)
        except OSError:
            return
