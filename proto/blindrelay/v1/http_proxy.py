"""An HTTP proxy on the way to the next hop, as some networks require: CONNECT (RFC 9110, section 9.3.6).

gRPC's own option `grpc.http_proxy` is not used. With it, gRPC obeys `no_proxy` of the environment, and
connects directly if it cannot read the proxy's address.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

ChannelOptions = tuple[tuple[str, str | int], ...]

_DEFAULT_PORT: Final = 3128
"""The default of Squid. (curl's is 1080, the port of SOCKS.)"""

_REFUSAL: Final = re.compile(r"HTTP proxy returned response code ([0-9]{3})")


@dataclass(frozen=True)
class HttpProxy:
    """A proxy's address.

    Attributes:
        host, port: the proxy's.
        credentials: "user:password", or None. Never shown.
    """

    host: str
    port: int
    credentials: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> HttpProxy:
        """Reads http://[user:password@]host[:port]. Raises ValueError, whose text has the URL as subject."""
        try:
            parts = urlsplit(text if "://" in text else "http://" + text)
            host, port = parts.hostname, parts.port or _DEFAULT_PORT
        except ValueError:
            raise ValueError("is not http://[USER:PASSWORD@]HOST:PORT") from None
        if parts.scheme != "http":
            raise ValueError(f"starts with {parts.scheme}://, and only an http:// proxy can be used")
        if not host or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("is not http://[USER:PASSWORD@]HOST:PORT")
        credentials = None
        if parts.username is not None:
            credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return cls(host, port, credentials)

    @property
    def address(self) -> str:
        """The "host:port" of a gRPC target."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def refusal(self, details: str) -> str | None:
        """A sentence on the proxy's refusal, from gRPC's error. None if the proxy did not refuse."""
        found = _REFUSAL.search(details)
        return None if found is None else self.refusal_of(int(found[1]))

    def refusal_of(self, status: int) -> str:
        """A sentence for the status with which the proxy answered CONNECT."""
        if status == 407:
            return f"the proxy {self.address} wants another user and password (407)"
        return f"the proxy {self.address} refused to connect to it ({status})"

    def connect_request(self, target: str) -> bytes:
        """The request for a connection to "host:port"."""
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", *self._authorization(": ")]
        return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()

    def channel_options(self, target: str, server_name: str) -> ChannelOptions:
        """Options for a channel to the proxy's address that is to be connected to "host:port"."""
        options: ChannelOptions = (
            ("grpc.http_connect_server", target),
            ("grpc.default_authority", target),
            ("grpc.ssl_target_name_override", server_name),
        )
        return (*options, *(("grpc.http_connect_headers", header) for header in self._authorization(":")))

    def _authorization(self, colon: str) -> tuple[str, ...]:
        if self.credentials is None:
            return ()
        encoded = base64.b64encode(self.credentials.encode()).decode()
        return (f"Proxy-Authorization{colon}Basic {encoded}",)
