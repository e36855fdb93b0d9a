"""What of a request is sealed: its method, URL and body, and the headers that a provider needs.

Everything that tells one client from another stays here: SDK names and versions, platform, retry
counters, cookies (spec/protocol.md, section 11.3).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from blindrelay.client.connection import Connection
from blindrelay.client.library import Request, body_bytes, in_memory
from blindrelay.v1.inner_pb2 import Credential, ExchangeKind, Header, RequestHead

HEADERS: Final = frozenset({"accept", "anthropic-beta", "anthropic-version", "content-type", "openai-beta"})
CREDENTIAL_HEADERS: Final = frozenset(
    {"api-key", "authorization", "openai-organization", "openai-project", "x-api-key", "x-goog-api-key"}
)
CREDENTIAL_PARAMETERS: Final = ("key", "api_key", "api-key", "apikey", "access_token", "oauth_token")


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
        url=str(request.url if brought else _without_credentials(request.url)),
        headers=headers,
        credential=connection.credential,
        deadline_class=connection.deadline_class,
    )


def stateless_body(request: Request, connection: Connection) -> bytes | None:
    """The body of a request that is in memory, or None if it streams.

    With injected credentials all customers are one account at the provider, so nothing may be stored
    there. The Responses API stores unless told otherwise: ``"store": false`` is set where it is absent.
    """
    if not in_memory(request):
        return None
    body = body_bytes(request)
    injected = connection.credential == Credential.CREDENTIAL_INJECTED
    if injected and request.method == "POST" and request.url.path.endswith("/responses"):
        return _with_store_false(body)
    return body


def _with_store_false(body: bytes) -> bytes:
    try:
        content = json.loads(body)
        if not isinstance(content, dict) or "store" in content:
            return body
    except (ValueError, RecursionError):
        return body  # not JSON: the bridge says what is wrong
    # Put in, not written anew: whatever else is in the body stays as it is, for the bridge to judge.
    rest = body.lstrip(b" \t\r\n").removeprefix(b"{")
    return b'{"store":false' + (b"," if content else b"") + rest


def _without_credentials(url: Any) -> Any:
    for parameter in list(url.params):
        if parameter.casefold() in CREDENTIAL_PARAMETERS:
            url = url.copy_remove_param(parameter)
    return url
