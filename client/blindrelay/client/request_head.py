"""What of a request is sealed: its method, URL and body, and the headers that a provider needs.

Everything that tells one client from another stays here: SDK names and versions, platform, retry
counters, cookies (spec/protocol.md, section 11.3).
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

from blindrelay.client.connection import Connection
from blindrelay.client.library import Request
from blindrelay.v1.inner_pb2 import Credential, ExchangeKind, Header, RequestHead

HEADERS: Final = frozenset(
    {"accept", "anthropic-beta", "anthropic-version", "content-encoding", "content-type", "openai-beta"}
)
CREDENTIAL_HEADERS: Final = frozenset(
    {"api-key", "authorization", "openai-organization", "openai-project", "x-api-key", "x-goog-api-key"}
)
SUBPROTOCOLS: Final = frozenset({"openai-beta.realtime-v1", "realtime"})
"""Of a WebSocket, with injected credentials: SDKs put keys into others."""

CREDENTIAL_PARAMETERS: Final = ("key", "api_key", "api-key", "apikey", "access_token", "oauth_token")

_SUBPROTOCOL: Final = "sec-websocket-protocol"
_WEBSOCKET_SCHEME: Final = re.compile(r"^ws(?=s?:)")


def request_head(request: Request, connection: Connection) -> RequestHead:
    """The sealed head of a request: an allow-list of headers, lower-case and sorted."""
    brought = connection.credential == Credential.CREDENTIAL_BROUGHT
    allowed = HEADERS | CREDENTIAL_HEADERS if brought else HEADERS
    headers = [
        Header(name=name, value=value)
        for name, value in sorted((name.lower(), value) for name, value in request.headers.raw)
        if name.decode("latin-1") in allowed
    ]
    if brought and (key := request.headers.get("idempotency-key")):
        # SDKs put their names into it; the hash names the same attempt and nothing else.
        digest = hashlib.sha256(key.encode()).hexdigest()[:32]
        headers.append(Header(name=b"idempotency-key", value=digest.encode()))
    return RequestHead(
        kind=ExchangeKind.EXCHANGE_KIND_EXCHANGE,
        method=request.method.upper(),
        url=_sealed_url(request.url, brought=brought),
        headers=headers,
        credential=connection.credential,
        deadline_class=connection.deadline_class,
    )


def tunnel_head(request: Request, connection: Connection) -> RequestHead:
    """The sealed head of a WebSocket's opening handshake; a URL of wss or ws is one of https or http."""
    head = request_head(request, connection)
    head.kind = ExchangeKind.EXCHANGE_KIND_TUNNEL
    head.url = _WEBSOCKET_SCHEME.sub("http", head.url)
    offered = [each.strip() for each in request.headers.get(_SUBPROTOCOL, "").split(",") if each.strip()]
    if connection.credential == Credential.CREDENTIAL_INJECTED:
        offered = [each for each in offered if each in SUBPROTOCOLS]
    if offered:
        head.headers.append(Header(name=_SUBPROTOCOL.encode(), value=", ".join(offered).encode()))
    return head


def _sealed_url(url: Any, *, brought: bool) -> str:
    """The URL without its fragment, which is the client's own business (RFC 9110, section 7.1)."""
    kept = url if brought else _without_credentials(url)
    return str(kept.copy_with(fragment=None))


def _without_credentials(url: Any) -> Any:
    for parameter in list(url.params):
        if parameter.casefold() in CREDENTIAL_PARAMETERS:
            url = url.copy_remove_param(parameter)
    return url
