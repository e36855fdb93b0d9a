"""Fields that the client adds to a body that is sent with the bridge's credential (spec, section 11.5).

All customers then share one account at the provider. So nothing may be stored there: the Responses API gets
``"store": false``. And no customer may find another's prompts in a cache: APIs that take a salt get one.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from blindrelay.client.cache_salt import has_salt_in_head, salt_field, salt_of
from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.httpx_compat import Request, body_bytes, in_memory
from blindrelay.client.sealed_address import real_host
from blindrelay.v1.inner_pb2 import CREDENTIAL_INJECTED

_STORING: Final = "/responses"
"""The Responses API, which stores responses by default."""


def stateless_body(request: Request, config: ConnectionConfig) -> bytes | None:
    """The body to send for a request, or None if it is streamed and sent as it is."""
    if not in_memory(request):
        return None
    body = body_bytes(request)
    if request.method != "POST" or not completes_body(request.url.host, request.url.path, config):
        return body
    fields = _parsed(body)
    return body if fields is None else _completed(body, fields, request, config)


def stateless_message(message: bytes, request: Request, config: ConnectionConfig) -> bytes:
    """The text message to send on a WebSocket that the request opened."""
    if not completes_body(request.url.host, request.url.path, config):
        return message
    fields = _parsed(message)
    if fields is None or fields.get("type") != "response.create":
        return message
    return _completed(message, fields, request, config)


def completes_body(host: str, path: str, config: ConnectionConfig) -> bool:
    """Whether fields may have to be added to a body, or a salt made from it: it has to be in memory."""
    if config.credential != CREDENTIAL_INJECTED:
        return False
    salted = _salt_field(host, path, config) is not None
    return path.endswith(_STORING) or salted or has_salt_in_head(real_host(host), path, config.cache_salt)


def salt_for_head(request: Request, config: ConnectionConfig, body: object) -> str | None:
    """The salt that the head of a request gets, or None. `body` is what is sent: bytes, or a stream."""
    if config.credential != CREDENTIAL_INJECTED or not isinstance(body, bytes):
        return None
    if not has_salt_in_head(request.url.host, request.url.path, config.cache_salt):
        return None
    fields = _parsed(body)
    return None if fields is None else salt_of(fields, config.token)


def _completed(body: bytes, fields: dict[str, Any], request: Request, config: ConnectionConfig) -> bytes:
    """The body with the missing fields added. The other bytes stay the same, for the bridge to judge."""
    wanted: dict[str, Any] = {}
    if request.url.path.endswith(_STORING):
        wanted["store"] = False
    field = _salt_field(request.url.host, request.url.path, config)
    if field is not None and fields.get(field) is None:
        wanted[field] = salt_of(fields, config.token)
    added: dict[str, Any] = {}
    for name, value in wanted.items():
        if name not in fields:
            added[name] = value
        elif fields[name] is None:
            body = _without_null(body, name, value)
    if not added:
        return body
    after = body.lstrip(b" \t\r\n").removeprefix(b"{")
    front = json.dumps(added, separators=(",", ":")).encode().removesuffix(b"}")
    return front + (b"," if fields else b"") + after


def _without_null(body: bytes, name: str, value: Any) -> bytes:
    """The body with a null, which means absent, replaced by the value if it is found exactly once."""
    null = re.compile(rb'("%s"[ \t\r\n]*:[ \t\r\n]*)null' % re.escape(name.encode()))
    if len(null.findall(body)) != 1:
        return body
    return null.sub(lambda found: found[1] + json.dumps(value).encode(), body)


def _salt_field(host: str, path: str, config: ConnectionConfig) -> str | None:
    return salt_field(real_host(host), path, config.cache_salt)


def _parsed(body: bytes) -> dict[str, Any] | None:
    """The object in the body, or None. The bridge reports what is wrong with it."""
    try:
        fields = json.loads(body.decode("utf-8"))  # from bytes, it would guess the encoding
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None
