"""Which headers pass, both ways (spec/protocol.md, section 11.3). Values are raw bytes, never decoded."""

from __future__ import annotations

import re
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
"""What a provider needs to read the request; nothing here says who asks."""

CREDENTIAL_HEADERS: Final = frozenset(
    {
        b"api-key",
        b"authorization",
        b"idempotency-key",
        b"openai-organization",
        b"openai-project",
        b"x-api-key",
        b"x-goog-api-key",
    }
)
"""Whose account it is, and what has a meaning within one: with the bridge's own, two customers' equal
idempotency keys would meet. Only with a BROUGHT credential."""

SUBPROTOCOL: Final = b"sec-websocket-protocol"

INJECTED_SUBPROTOCOLS: Final = frozenset({b"openai-beta.realtime-v1", b"realtime"})
"""Subprotocols that a tunnel with an INJECTED credential may offer: SDKs put keys into others."""

ANSWER_HEADERS: Final = frozenset(
    {
        b"anthropic-version",
        b"cache-control",
        b"content-disposition",
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-type",
        b"date",
        b"etag",
        b"last-modified",
        b"location",
        b"openai-model",
        b"openai-processing-ms",
        b"openai-version",
        b"request-id",
        b"retry-after",
        b"retry-after-ms",
        b"x-request-id",
        b"x-should-retry",
    }
)
"""What SDKs read. Not the provider's name for the account (openai-organization, anthropic-organization-id):
with an INJECTED credential it is the bridge's."""

ANSWER_PREFIXES: Final = (b"anthropic-ratelimit-", b"x-ratelimit-")

USER_AGENT: Final = b"blindrelay"
"""The same for every exchange, without a version."""

MAX_HEADERS: Final = 64
"""Header fields of a request; the allow-list has a dozen names."""

_REPEATABLE: Final = frozenset({b"accept", b"anthropic-beta", b"openai-beta"})
# RFC 9110, sections 5.1 and 5.5: a token in lower case; visible bytes with single-line space between them.
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_SUBPROTOCOL: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")


class HeaderError(ValueError):
    """A header is refused; the text says why, and never holds its value."""


def request_headers(headers: Iterable[Header], *, brought: bool, tunnel: bool = False) -> list[Header]:
    """The headers that go on to the provider, sorted by name.

    Raises HeaderError for any that may not: dropping one would send another request than was asked for.
    """
    passed = list(headers)
    if len(passed) > MAX_HEADERS:
        raise HeaderError(f"there are more than {MAX_HEADERS} headers")
    seen: set[bytes] = set()
    for name, value in passed:
        _check_form(name, value)
        if name == SUBPROTOCOL and tunnel:
            _check_subprotocols(value, brought=brought)
        else:
            _check_request_name(name, brought=brought)
        if name in seen and name not in _REPEATABLE:
            raise HeaderError(f"the header {name.decode()} is given twice")
        seen.add(name)
    return sorted(passed)


def provider_headers(
    host: str, headers: list[Header], credential: Header | None, size: int | None
) -> list[Header]:
    """The whole header section for the provider: what passed, and what only the bridge makes.

    `size` is the body's length in bytes, or None for a request that has no body.
    """
    made = [(b"accept-encoding", b"identity"), (b"user-agent", USER_AGENT)]
    if size is not None:
        made.append((b"content-length", b"%d" % size))
    if credential is not None:
        made.append(credential)
    return [(b"host", host.encode("ascii")), *sorted([*headers, *made])]


def answer_headers(headers: Iterable[Header], *, chunked: bool) -> list[Header]:
    """The provider's headers that go back to the client, in their order, names in lower case.

    Raises HeaderError if a value has CR, LF, NUL or another control byte.
    """
    received = [(name.lower(), value) for name, value in headers]
    hop_by_hop = _nominated(received)
    passed = [(name, value) for name, value in received if _passes_back(name) and name not in hop_by_hop]
    for name, value in passed:
        _check_form(name, value)
    if chunked:  # RFC 9112, section 6.1: with a transfer coding, a content-length has no meaning
        passed = [(name, value) for name, value in passed if name != b"content-length"]
    return passed


def _check_request_name(name: bytes, *, brought: bool) -> None:
    if name in CREDENTIAL_HEADERS:
        if not brought:
            raise HeaderError(
                f"the header {name.decode()} belongs to a credential, and the bridge adds its own: "
                "send none, or bring your own (credentials=brought)"
            )
    elif name not in REQUEST_HEADERS:
        raise HeaderError(f"the header {name.decode()} is not one that the bridge passes on")


def subprotocols(value: bytes) -> list[bytes]:
    """What a sec-websocket-protocol header offers (RFC 6455, section 11.3.4)."""
    return [each.strip(b" \t") for each in value.split(b",")]


def _check_subprotocols(value: bytes, *, brought: bool) -> None:
    for offered in subprotocols(value):
        if not _SUBPROTOCOL.fullmatch(offered):
            raise HeaderError("a subprotocol is not a token")
        if not brought and offered not in INJECTED_SUBPROTOCOLS:
            raise HeaderError(
                "a subprotocol is not one that passes with the bridge's credential: offer "
                "realtime, or bring your own (credentials=brought)"
            )


def _check_form(name: bytes, value: bytes) -> None:
    if not _NAME.fullmatch(name):
        raise HeaderError("a header's name is not a token in lower case")
    if not _VALUE.fullmatch(value):
        raise HeaderError(f"the header {name.decode()} has a control byte, or space at an end")


def _nominated(headers: Iterable[Header]) -> set[bytes]:
    """The names that `connection` lists: they are for this hop only (RFC 9110, section 7.6.1)."""
    values = b",".join(value for name, value in headers if name == b"connection")
    return {name.strip().lower() for name in values.split(b",")}


def _passes_back(name: bytes) -> bool:
    return name in ANSWER_HEADERS or name.startswith(ANSWER_PREFIXES)
