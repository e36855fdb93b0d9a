"""The header names of spec/protocol.md, section 11.3, in lower case."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

Header = tuple[bytes, bytes]

REQUEST_HEADERS: Final = frozenset(
    {
        b"accept",
        b"anthropic-beta",
        b"anthropic-version",
        b"content-encoding",
        b"content-type",
        b"openai-beta",
    }
)
"""What a provider needs to read a request. None of them tells who sent it."""

ACCOUNT_HEADERS: Final = frozenset(
    {
        b"api-key",
        b"authorization",
        b"chatgpt-account-id",
        b"idempotency-key",
        b"openai-organization",
        b"openai-project",
        b"x-api-key",
        b"x-goog-api-key",
        b"x-goog-user-project",
        b"x-grok-conv-id",
    }
)
"""Credentials, and headers with a meaning within one account. They pass with a BROUGHT credential only: in
the bridge's account, equal idempotency keys of two customers would collide."""

SUBPROTOCOL: Final = b"sec-websocket-protocol"

INJECTED_SUBPROTOCOLS: Final = frozenset({b"openai-beta.realtime-v1", b"realtime"})
"""Subprotocols that a tunnel with an INJECTED credential may offer. SDKs put keys into others."""

OWN_PREFIX: Final = b"blindrelay-"
"""Begins the headers between client and bridge, which no provider receives or sends (section 11.8)."""

BROUGHT_CREDENTIAL: Final = OWN_PREFIX + b"credential"
"""In requests to the aggregated address, repeated: "PROVIDER VALUE", for that provider alone."""

CACHE_SALT: Final = OWN_PREFIX + b"cache-salt"
"""In requests to the aggregated address: the salt for a target whose prompt cache takes one."""

SERVED_BY: Final = OWN_PREFIX + b"served-by"
"""In responses from the aggregated address: "PROVIDER/MODEL", as the bridge asked."""

SERVED_MODEL: Final = OWN_PREFIX + b"served-model"
"""In the same responses: the model that the provider's response names, if it is another one."""

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"expect",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""RFC 9110, section 7.6.1, and `expect`, which is for the next server only (section 10.1.1)."""

NEVER_SENT: Final = HOP_BY_HOP | {
    b"accept-encoding",
    b"content-length",
    b"cookie",
    b"forwarded",
    b"host",
    b"user-agent",
    b"via",
    b"x-http-method",
    b"x-http-method-override",
    b"x-method-override",
    b"x-original-url",
    b"x-real-ip",
    b"x-rewrite-url",
}
"""A bridge refuses requests that have one of these. It makes some of them itself. Cookies tell persons apart.
Some may only be set by an intermediary. From some, servers take another method or path than was checked."""

NEVER_RETURNED: Final = HOP_BY_HOP | {
    b"alt-svc",
    b"clear-site-data",
    b"nel",
    b"report-to",
    b"reporting-endpoints",
    b"set-cookie",
    b"set-cookie2",
    b"strict-transport-security",
}
"""A bridge removes these from responses: this hop's own, cookies, and what makes a client contact others."""


def nominated(headers: Iterable[Header]) -> frozenset[bytes]:
    """The names that `connection` lists. They are for this hop only (RFC 9110, section 7.6.1)."""
    values = b",".join(value for name, value in headers if name.lower() == b"connection")
    return frozenset(name.strip().lower() for name in values.split(b",") if name.strip())
