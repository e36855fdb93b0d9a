"""``"store": false``, put in where the Responses API would store an answer.

With injected credentials all customers are one account at the provider, so nothing may be stored there
(spec/protocol.md, section 11.5).
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

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
    if _applies(request, connection) and request.method == "POST":
        return _with_store_false(body)
    return body


def stateless_message(message: bytes, request: Request, connection: Connection) -> bytes:
    """A text message of a WebSocket that the request opened."""
    content = _parsed(message) if _applies(request, connection) else None
    if content is not None and content.get("type") == "response.create":
        return _with_store_false(message)
    return message


def _applies(request: Request, connection: Connection) -> bool:
    injected = connection.credential == Credential.CREDENTIAL_INJECTED
    return injected and bool(request.url.path.endswith("/responses"))


def _with_store_false(body: bytes) -> bytes:
    content = _parsed(body)
    if content is None or content.get("store") is not None:
        return body
    # Put in, not written anew: whatever else is in the body stays as it is, for the bridge to judge.
    if "store" in content:
        return _NULL.sub(rb"\1false", body) if len(_NULL.findall(body)) == 1 else body
    rest = body.lstrip(b" \t\r\n").removeprefix(b"{")
    return b'{"store":false' + (b"," if content else b"") + rest


def _parsed(body: bytes) -> dict[str, Any] | None:
    """The object in the body, or None: the bridge says what is wrong."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
