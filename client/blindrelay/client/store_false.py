"""What the client puts into a body that goes with the bridge's credential (spec/protocol.md, section 11.5).

All customers are one account at the provider then. So nothing may be stored there: ``"store": false`` where
the Responses API would store a response. And nobody may find another's prompts in a cache: a salt, where the
API has a field for one.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from blindrelay.client.cache_salt import salt_field, salt_of
from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.httpx_compat import Request, body_bytes, in_memory
from blindrelay.client.sealed_address import real_host
from blindrelay.v1.inner_pb2 import Credential

_STORING: Final = "/responses"
"""The Responses API stores what it is not told to forget."""


def stateless_body(request: Request, connection: ConnectionConfig) -> bytes | None:
    """The body of a request that is in memory, or None if it streams."""
    if not in_memory(request):
        return None
    body = body_bytes(request)
    if request.method != "POST" or not completes_body(request.url.host, request.url.path, connection):
        return body
    content = _parsed(body)
    return body if content is None else _completed(body, content, request, connection)


def stateless_message(message: bytes, request: Request, connection: ConnectionConfig) -> bytes:
    """A text message of a WebSocket that the request opened."""
    if not completes_body(request.url.host, request.url.path, connection):
        return message
    content = _parsed(message)
    if content is None or content.get("type") != "response.create":
        return message
    return _completed(message, content, request, connection)


def completes_body(host: str, path: str, connection: ConnectionConfig) -> bool:
    """Whether something may have to be put into a body on its way there, so that it has to be in memory."""
    if connection.credential != Credential.CREDENTIAL_INJECTED:
        return False
    return path.endswith(_STORING) or _salt_field(host, path, connection) is not None


def _completed(body: bytes, content: dict[str, Any], request: Request, connection: ConnectionConfig) -> bytes:
    """The body with what is missing put in. The rest keeps its bytes, for the bridge to judge."""
    wanted: dict[str, Any] = {}
    if request.url.path.endswith(_STORING):
        wanted["store"] = False
    field = _salt_field(request.url.host, request.url.path, connection)
    if field is not None and content.get(field) is None:
        wanted[field] = salt_of(content, connection.token)
    added: dict[str, Any] = {}
    for name, value in wanted.items():
        if name not in content:
            added[name] = value
        elif content[name] is None:
            body = _without_null(body, name, value)
    if not added:
        return body
    rest = body.lstrip(b" \t\r\n").removeprefix(b"{")
    front = json.dumps(added, separators=(",", ":")).encode().removesuffix(b"}")
    return front + (b"," if content else b"") + rest


def _without_null(body: bytes, name: str, value: Any) -> bytes:
    """Null means absent. It makes way for the value where it can be found without doubt."""
    null = re.compile(rb'("%s"[ \t\r\n]*:[ \t\r\n]*)null' % re.escape(name.encode()))
    if len(null.findall(body)) != 1:
        return body
    return null.sub(lambda found: found[1] + json.dumps(value).encode(), body)


def _salt_field(host: str, path: str, connection: ConnectionConfig) -> str | None:
    return salt_field(real_host(host), path, connection.cache_salt)


def _parsed(body: bytes) -> dict[str, Any] | None:
    """The object in the body, or None: the bridge says what is wrong."""
    try:
        content = json.loads(body.decode("utf-8"))  # from bytes, it would guess the encoding
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
