"""An HTTP proxy on the way to the next hop, as a company's network may demand: CONNECT (RFC 9110, 9.3.6).

gRPC's own option `grpc.http_proxy` is not used. With it gRPC heeds no_proxy of the environment, and connects
directly where it cannot read the proxy's address.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

ChannelOptions = tuple[tuple[str, str | int], ...]

_DEFAULT_PORT: Final = 3128
"""Squid's; curl's is 1080, that of SOCKS."""

_REFUSAL: Final = re.compile(r"HTTP proxy returned response code ([0-9]{3})")


@dataclass(frozen=True)
class HttpProxy:
    """A proxy's address.

    Attributes:
        address: "host:port".
        credentials: "user:password", or None; never shown.
    """

    address: str
    credentials: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> HttpProxy:
        """Reads http://[user:password@]host[:port]. Raises ValueError: the end of a sentence on the text."""
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
        return cls(f"{f'[{host}]' if ':' in host else host}:{port}", credentials)

    def refusal(self, details: str) -> str | None:
        """The proxy's own no, in what gRPC says of a failed connection; None if the proxy did not refuse."""
        found = _REFUSAL.search(details)
        if found is None:
            return None
        if found[1] == "407":
            return f"the proxy {self.address} wants another user and password (407)"
        return f"the proxy {self.address} refused to connect to it ({found[1]})"

    def channel_options(self, target: str, server_name: str) -> ChannelOptions:
        """For a channel whose target is the proxy's address: how to get from there to "host:port"."""
        options: ChannelOptions = (
            ("grpc.http_connect_server", target),
            ("grpc.default_authority", target),
            ("grpc.ssl_target_name_override", server_name),
        )
        if self.credentials is None:
            return options
        encoded = base64.b64encode(self.credentials.encode()).decode()
        return (*options, ("grpc.http_connect_headers", f"Proxy-Authorization:Basic {encoded}"))
