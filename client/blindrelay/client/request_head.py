"""The part of a request that is sealed before its body: method, URL, and the headers that a provider needs.

Headers that distinguish clients are not sent: SDK names and versions, platform, retry counters, cookies
(spec/protocol.md, section 11.3).
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.errors import RequestError
from blindrelay.client.harmless_headers import HARMLESS_UNSIGNED, is_harmless
from blindrelay.client.httpx_compat import Request
from blindrelay.client.sealed_address import is_for_all_models
from blindrelay.v1.http_headers import (
    ACCOUNT_HEADERS,
    BROUGHT_CREDENTIAL,
    CACHE_SALT,
    INJECTED_SUBPROTOCOLS,
    REQUEST_HEADERS,
    SUBPROTOCOL,
    nominated,
)
from blindrelay.v1.inner_pb2 import (
    CREDENTIAL_BROUGHT,
    EXCHANGE_KIND_EXCHANGE,
    EXCHANGE_KIND_TUNNEL,
    Header,
    RequestHead,
    Shaping,
)

CREDENTIAL_PARAMETERS: Final = ("key", "api_key", "api-key", "apikey", "access_token", "oauth_token")

SOFTWARE_PARAMETERS: Final = ("client_version",)
"""Query parameters with a program's version. Codex adds one when it lists models."""

_IDEMPOTENCY_KEY: Final = b"idempotency-key"
_WEBSOCKET_SCHEME: Final = re.compile(r"^ws(?=s?:)")


def request_head(request: Request, config: ConnectionConfig, salt: str | None = None) -> RequestHead:
    """The head of a request, its headers in lower case and sorted.

    `salt` is for the bridge to give to a provider whose prompt cache takes one.

    Raises RequestError for a header that the bridge would refuse and that cannot be dropped.
    """
    return RequestHead(
        kind=EXCHANGE_KIND_EXCHANGE,
        method=request.method.upper(),
        url=_sealed_url(request.url, brought=_brings_credential(config)),
        headers=_sealed_headers(request, config, salt),
        credential=config.credential,
        deadline_class=config.deadline_class,
        shaping=Shaping(profile=config.shape),
    )


def tunnel_head(request: Request, config: ConnectionConfig) -> RequestHead:
    """The head of a WebSocket handshake. Its URL has the scheme https or http instead of wss or ws."""
    head = request_head(request, config)
    head.kind = EXCHANGE_KIND_TUNNEL
    head.url = _WEBSOCKET_SCHEME.sub("http", head.url)
    value = request.headers.get(SUBPROTOCOL.decode(), "").encode()
    offered = [each.strip() for each in value.split(b",") if each.strip()]
    if not _brings_credential(config):
        offered = [each for each in offered if each in INJECTED_SUBPROTOCOLS]
    if offered:
        head.headers.append(Header(name=SUBPROTOCOL, value=b", ".join(offered)))
    return head


def _brings_credential(config: ConnectionConfig) -> bool:
    return config.credential == CREDENTIAL_BROUGHT


def _sealed_headers(request: Request, config: ConnectionConfig, salt: str | None) -> list[Header]:
    given = [(name.lower(), value) for name, value in request.headers.raw]
    ours = _own_keys(request, config)
    brings_several = ours or any(name == BROUGHT_CREDENTIAL for name, _ in given)
    dropped = nominated(given) | (ACCOUNT_HEADERS if brings_several else frozenset())
    if salt is not None:
        ours.append((CACHE_SALT, salt.encode()))
    kept = [each for each in given if each[0] not in dropped and _passes(each[0], config)]
    return [
        Header(name=name, value=_hashed(value) if name == _IDEMPOTENCY_KEY else value)
        for name, value in sorted(kept + ours)
    ]


def _own_keys(request: Request, config: ConnectionConfig) -> list[tuple[bytes, bytes]]:
    """The user's keys, for the one address that takes several. The key that the SDK has is not sent."""
    if not is_for_all_models(request.url):
        return []
    return [(BROUGHT_CREDENTIAL, f"{provider} {key}".encode()) for provider, key in config.keys]


def _passes(name: bytes, config: ConnectionConfig) -> bool:
    """Whether a header is sent, or dropped. Raises RequestError."""
    if name in REQUEST_HEADERS or name.decode("latin-1") in config.headers:
        return True
    if name in ACCOUNT_HEADERS:
        return _brings_credential(config)
    if is_harmless(name):
        return False
    if _brings_credential(config):
        return True
    if name in HARMLESS_UNSIGNED:
        return False
    text = name.decode("latin-1")
    raise RequestError(
        f"the bridge does not pass on the header {text} with its own credential. Leave it out. Or add "
        f"headers={text} to the connection string, if the bridge's operator allows it. Or use your own "
        "credential (credentials=brought)"
    )


def _hashed(key: bytes) -> bytes:
    """A hash of the key, which still identifies the request. SDKs put their names into these keys."""
    return hashlib.sha256(key).hexdigest()[:32].encode()


def _sealed_url(url: Any, *, brought: bool) -> str:
    """The URL without its fragment, which is only for the client (RFC 9110, section 7.1).

    The libraries write "#" in no other place. To take it out by their copy_with() parses the URL again.
    """
    dropped = SOFTWARE_PARAMETERS if brought else SOFTWARE_PARAMETERS + CREDENTIAL_PARAMETERS
    for parameter in list(url.params) if url.query else ():
        if parameter.casefold() in dropped:
            url = url.copy_remove_param(parameter)
    return str(url).partition("#")[0]
