"""The local endpoint: a streaming proxy on loopback for programs that take a base URL.

`blindrelay proxy` starts it; docs/endpoint.md describes it. It needs the extra `proxy`.
"""

from blindrelay.client.endpoint.access import Access
from blindrelay.client.endpoint.app import OwnNamesOnly, endpoint_app
from blindrelay.client.endpoint.providers import Provider, read_providers
from blindrelay.client.endpoint.request_target import Unsealed
from blindrelay.client.endpoint.server import listen, serve, serve_app
from blindrelay.client.endpoint.token_file import LocalToken, local_token, new_token

__all__ = [
    "Access",
    "LocalToken",
    "OwnNamesOnly",
    "Provider",
    "Unsealed",
    "endpoint_app",
    "listen",
    "local_token",
    "new_token",
    "read_providers",
    "serve",
    "serve_app",
]
