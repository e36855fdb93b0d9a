"""What the client puts into a body that goes with the bridge's credential (spec/protocol.md, section 11.5).

All customers are one account at the provider then. So nothing may be stored there: ``"store": false`` where
the Responses API would store an answer. And nobody may find another's prompts in a cache: a salt, where the
API has a field for one.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from blindrelay.client.cache_salt import salt_field, salt_of
from blindrelay.client.connection import Connection
from blindrelay.client.library import Request, body_bytes, in_memory
from blindrelay.v1.inner_pb2 import Credential

_NULL: Final = re.compile(rb'("store"[ \t\r\n]*:[ \t\r\n]*)null')
"""Null is the default, which stores."""


def stateless_body(request: Request, connection: Connection) -> bytes | None:
    """The body of a request that is in memory, or None if it streams."""
    if not in_memory(request):
        return None
    body = body_bytes(request)
    if request.method == "POST" and completes_body(request.url.host, request.url.path, connection):
        return _completed(body, request, connection)
    return body


def stateless_message(message: bytes, request: Request, connection: Connection) -> bytes:
    """A text message of a WebSocket that the request opened."""
    if not completes_body(request.url.host, request.url.path, connection):
        return message
    content = _parsed(message)
    if content is None or content.get("type") != "response.create":
        return message
    return _completed(message, request, connection)


def completes_body(host: str, path: str, connection: Connection) -> bool:
    """Whether something may have to be put into a body on its way there, so that it has to be in memory."""
    if connection.credential != Credential.CREDENTIAL_INJECTED:
        return False
    return path.endswith("/responses") or salt_field(host, path, connection.cache_salt) is not None


def _completed(body: bytes, request: Request, connection: Connection) -> bytes:
    content = _parsed(body)
    if content is None:
        return body
    added: dict[str, Any] = {}
    if request.url.path.endswith("/responses") and content.get("store") is None:
        if "store" not in content:
            added["store"] = False
        elif len(_NULL.findall(body)) == 1:
            body = _NULL.sub(rb"\1false", body)
    field = salt_field(request.url.host, request.url.path, connection.cache_salt)
    if field is not None and field not in content:
        added[field] = salt_of(content, connection.token)
    if not added:
        return body
    # Put in, not written anew: whatever else is in the body stays as it is, for the bridge to judge.
    rest = body.lstrip(b" \t\r\n").removeprefix(b"{")
    front = json.dumps(added, separators=(",", ":")).encode().removesuffix(b"}")
    return front + (b"," if content else b"") + rest


def _parsed(body: bytes) -> dict[str, Any] | None:
    """The object in the body, or None: the bridge says what is wrong."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
