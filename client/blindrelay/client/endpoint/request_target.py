"""Request targets that are not a path (RFC 9112, section 3.2).

A program that uses the endpoint as its proxy sends CONNECT and absolute URLs. The endpoint accepts its own
address only. Requests that would leave in clear are refused and counted.
"""

from __future__ import annotations

from collections import Counter
from typing import Final
from urllib.parse import unquote, urlsplit

from starlette.types import Scope

from blindrelay.client.endpoint.access import Access
from blindrelay.client.endpoint.refusal import RefusedError

_MAX_NAMES: Final = 100
"""How many hosts are counted by name. A program could invent any number."""

_DEFAULT_PORTS: Final = (":80", ":443")


class Unsealed:
    """Counts, by host, the requests that were refused because they would have left in clear."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def refusal(self, authority: str) -> RefusedError:
        """Counts a host, with or without a port, and returns the error for it."""
        host = authority.rpartition("@")[2]
        for port in _DEFAULT_PORTS:
            host = host.removesuffix(port)
        self.counts[host if host in self.counts or len(self.counts) < _MAX_NAMES else "others"] += 1
        return RefusedError(403, "not_sealed", f"not sealed: {host}")


def is_server_wide(scope: Scope) -> bool:
    """Whether this is `OPTIONS *`, which concerns the server itself (RFC 9110, section 9.3.7)."""
    return scope.get("method") == "OPTIONS" and scope["raw_path"] == b"*"


def with_path(scope: Scope, access: Access, unsealed: Unsealed) -> Scope:
    """The scope with a path as its target; an absolute URL's authority replaces Host.

    Raises RefusedError if the target is another server's URL, or neither a path nor a URL.
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
