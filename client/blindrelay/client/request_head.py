"""What of a request is sealed: its method, URL and body, and the headers that a provider needs.

Everything that tells one client from another stays here: SDK names and versions, platform, retry
counters, cookies (spec/protocol.md, section 11.3).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final

from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.errors import RequestError
from blindrelay.client.harmless_headers import HARMLESS_UNSIGNED, is_harmless
from blindrelay.client.httpx_compat import Request
from blindrelay.v1.http_headers import (
    ACCOUNT_HEADERS,
    INJECTED_SUBPROTOCOLS,
    REQUEST_HEADERS,
    SUBPROTOCOL,
    nominated,
)
from blindrelay.v1.inner_pb2 import Credential, ExchangeKind, Header, RequestHead

CREDENTIAL_PARAMETERS: Final = ("key", "api_key", "api-key", "apikey", "access_token", "oauth_token")

SOFTWARE_PARAMETERS: Final = ("client_version",)
"""Query parameters that name a program's version: Codex adds one to its list of models."""

_IDEMPOTENCY_KEY: Final = b"idempotency-key"
_WEBSOCKET_SCHEME: Final = re.compile(r"^ws(?=s?:)")


def request_head(request: Request, connection: ConnectionConfig) -> RequestHead:
    """The sealed head of a request, its headers lower-case and sorted.

    Raises RequestError for a header that would not reach the provider, and that the request needs.
    """
    return RequestHead(
        kind=ExchangeKind.EXCHANGE_KIND_EXCHANGE,
        method=request.method.upper(),
        url=_sealed_url(request.url, brought=_brings_credential(connection)),
        headers=_sealed_headers(request.headers.raw, connection),
        credential=connection.credential,
        deadline_class=connection.deadline_class,
    )


def tunnel_head(request: Request, connection: ConnectionConfig) -> RequestHead:
    """The sealed head of a WebSocket's opening handshake; a URL of wss or ws is one of https or http."""
    head = request_head(request, connection)
    head.kind = ExchangeKind.EXCHANGE_KIND_TUNNEL
    head.url = _WEBSOCKET_SCHEME.sub("http", head.url)
    value = request.headers.get(SUBPROTOCOL.decode(), "").encode()
    offered = [each.strip() for each in value.split(b",") if each.strip()]
    if not _brings_credential(connection):
        offered = [each for each in offered if each in INJECTED_SUBPROTOCOLS]
    if offered:
        head.headers.append(Header(name=SUBPROTOCOL, value=b", ".join(offered)))
    return head


def _brings_credential(connection: ConnectionConfig) -> bool:
    return connection.credential == Credential.CREDENTIAL_BROUGHT


def _sealed_headers(raw: Iterable[tuple[bytes, bytes]], connection: ConnectionConfig) -> list[Header]:
    given = [(name.lower(), value) for name, value in raw]
    dropped = nominated(given)
    return [
        Header(name=name, value=_hashed(value) if name == _IDEMPOTENCY_KEY else value)
        for name, value in sorted(given)
        if name not in dropped and _passes(name, connection)
    ]


def _passes(name: bytes, connection: ConnectionConfig) -> bool:
    """Whether a header is sealed; one that is not stays here. Raises RequestError."""
    brought = _brings_credential(connection)
    if name in REQUEST_HEADERS or name.decode("latin-1") in connection.headers:
        return True
    if name in ACCOUNT_HEADERS:
        return brought
    if is_harmless(name) or (not brought and name in HARMLESS_UNSIGNED):
        return False
    if not brought:
        text = name.decode("latin-1")
        raise RequestError(
            f"the header {text} does not reach the provider with the bridge's credential: leave it out; or, "
            f"if the bridge's operator allows it, add headers={text} to the connection string; or bring "
            "your own credential (credentials=brought)"
        )
    return True


def _hashed(key: bytes) -> bytes:
    """SDKs put their names into idempotency keys; the hash names the same attempt and nothing else."""
    return hashlib.sha256(key).hexdigest()[:32].encode()


def _sealed_url(url: Any, *, brought: bool) -> str:
    """The URL without its fragment, which is the client's own business (RFC 9110, section 7.1)."""
    dropped = SOFTWARE_PARAMETERS if brought else SOFTWARE_PARAMETERS + CREDENTIAL_PARAMETERS
    for parameter in list(url.params):
        if parameter.casefold() in dropped:
            url = url.copy_remove_param(parameter)
    return str(url.copy_with(fragment=None))
