"""Request targets that are not a path (RFC 9112, section 3.2), and what the endpoint makes of them.

A program that takes the endpoint for its proxy sends CONNECT and absolute URLs. The endpoint passes itself
and nothing else: what would leave in clear is refused, and counted.
"""

from __future__ import annotations

from collections import Counter
from typing import Final
from urllib.parse import unquote, urlsplit

from starlette.types import Scope

from blindrelay.client.endpoint.access import Access
from blindrelay.client.endpoint.refusal import RefusedError

_MAX_NAMES: Final = 100
"""Hosts that are counted by name: a program may invent any number."""

_DEFAULT_PORTS: Final = (":80", ":443")


class Unsealed:
    """What was refused because it would have left in clear: how often, by host."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def refusal(self, authority: str) -> RefusedError:
        """Counts a host, with or without a port, and gives the error for it."""
        host = authority.rpartition("@")[2]
        for port in _DEFAULT_PORTS:
            host = host.removesuffix(port)
        self.counts[host if host in self.counts or len(self.counts) < _MAX_NAMES else "others"] += 1
        return RefusedError(403, "not_sealed", f"not sealed: {host}")


def is_server_wide(scope: Scope) -> bool:
    """Whether this is `OPTIONS *`, which asks after the server itself (RFC 9110, section 9.3.7)."""
    return scope.get("method") == "OPTIONS" and scope["raw_path"] == b"*"


def with_path(scope: Scope, access: Access, unsealed: Unsealed) -> Scope:
    """The scope with a path for its target, and the target's authority for its Host.

    Raises RefusedError for another server's URL, and for what is neither a path nor a URL.
    """
    target = scope["raw_path"].decode("ascii")
    if target.startswith("/"):
        return scope
    try:
        parts = urlsplit(target)
    except ValueError:
        parts = urlsplit("")
    if not parts.netloc:
        raise RefusedError(400, "request", "the request's target is neither a path nor a URL")
    if parts.scheme.lower() not in ("http", "ws") or not access.is_ours(parts.netloc):
        raise unsealed.refusal(parts.netloc)
    path = target[target.index(parts.netloc) + len(parts.netloc) :] or "/"
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    headers.append((b"host", parts.netloc.encode()))
    return {**scope, "path": unquote(path), "raw_path": path.encode(), "headers": headers}
