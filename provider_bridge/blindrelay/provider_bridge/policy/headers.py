"""Which headers pass, both ways (spec/protocol.md, section 11.3). Values are raw bytes, never decoded."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from blindrelay.v1.http_headers import (
    ACCOUNT_HEADERS,
    BROUGHT_CREDENTIAL,
    INJECTED_SUBPROTOCOLS,
    NEVER_RETURNED,
    NEVER_SENT,
    OWN_PREFIX,
    REQUEST_HEADERS,
    SUBPROTOCOL,
    Header,
    nominated,
)

RESPONSE_HEADERS: Final = frozenset(
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
        b"x-request-id",
        b"x-should-retry",
    }
)
"""What SDKs read, with an INJECTED credential. All customers share that account, so nothing here names it or
its limits, which would show one customer how much the others use."""

RETRY_AFTER: Final = b"retry-after"
"""About the account's limits, but SDKs need it, so it passes with these statuses."""

RETRY_STATUSES: Final = frozenset({429, 503, 529})
"""RFC 6585, section 4; RFC 9110, section 15.6.4; Anthropic's "overloaded"."""

_FORWARDED: Final = b"x-forwarded-"
_OWN_HANDSHAKE: Final = b"sec-websocket-"
"""The bridge makes a tunnel's handshake. upstream/provider_tunnel.py adds the chosen subprotocol."""

USER_AGENT: Final = b"blindrelay"
"""The same for every exchange, without a version."""

MAX_HEADERS: Final = 64
"""Header fields of a request. SDKs send about twenty."""

_REPEATABLE: Final = frozenset({b"accept", b"anthropic-beta", b"openai-beta", BROUGHT_CREDENTIAL})
# RFC 9110, sections 5.1 and 5.5: a token in lower case; visible bytes with single-line space between them.
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_SUBPROTOCOL: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")


class HeaderError(ValueError):
    """A header is refused. The text says why, without its value."""


def is_header_name(name: bytes) -> bool:
    """Whether it is a header's name in lower case (RFC 9110, section 5.1)."""
    return _NAME.fullmatch(name) is not None


def request_headers(
    headers: Iterable[Header],
    *,
    brought: bool,
    tunnel: bool = False,
    added: frozenset[bytes] = frozenset(),
) -> list[Header]:
    """The headers that go on to the provider, sorted by name.

    `added` are names that the operator allows with an INJECTED credential, beside the protocol's own. Headers
    between client and bridge pass only if they are among them, with any credential. Raises HeaderError for a
    header that may not pass: to drop it would change the request.
    """
    passed = list(headers)
    if len(passed) > MAX_HEADERS:
        raise HeaderError(f"there are more than {MAX_HEADERS} headers")
    seen: set[bytes] = set()
    for name, value in passed:
        _check_form(name, value)
        if name.startswith(OWN_PREFIX) and name not in added:
            raise HeaderError(f"the header {name.decode()} is for the aggregated address alone: leave it out")
        if name == SUBPROTOCOL and tunnel:
            _check_subprotocols(value, brought=brought)
        elif not brought:
            _check_injected(name, added)
        _check_sendable(name, tunnel=tunnel)
        if name in seen and name not in _REPEATABLE:
            raise HeaderError(f"the header {name.decode()} is given twice")
        seen.add(name)
    return sorted(passed)


def provider_headers(
    host: str, headers: list[Header], credential: Header | None, size: int | None
) -> list[Header]:
    """All headers for the provider: those that passed, and the bridge's own.

    `size` is the body's length in bytes, or None for a request without a body.
    """
    made = [(b"accept-encoding", b"identity"), (b"user-agent", USER_AGENT)]
    if size is not None:
        made.append((b"content-length", b"%d" % size))
    if credential is not None:
        made.append(credential)
    return [(b"host", host.encode("ascii")), *sorted([*headers, *made])]


def response_headers(
    headers: Iterable[Header], *, chunked: bool, brought: bool = False, status: int = 200
) -> list[Header]:
    """The provider's headers that go back to the client, in their order, names in lower case.

    With a BROUGHT credential the account is the client's own, and all but NEVER_RETURNED pass. Raises
    HeaderError if a value has CR, LF, NUL or another control byte.
    """
    received = [(name.lower(), value) for name, value in headers]
    dropped = NEVER_RETURNED | nominated(received)
    if chunked:  # RFC 9112, section 6.1: with a transfer coding, a content-length has no meaning
        dropped |= {b"content-length"}
    passed = [
        (name, value)
        for name, value in received
        if name not in dropped and _returns(name, brought=brought, status=status)
    ]
    for name, value in passed:
        _check_form(name, value)
    return passed


def subprotocols(value: bytes) -> list[bytes]:
    """The subprotocols in a sec-websocket-protocol header (RFC 6455, section 11.3.4)."""
    return [each.strip(b" \t") for each in value.split(b",")]


def _check_injected(name: bytes, added: frozenset[bytes]) -> None:
    if name in ACCOUNT_HEADERS:
        raise HeaderError(
            f"the header {name.decode()} belongs to a credential, and the bridge adds its own: "
            "send none, or bring your own (credentials=brought)"
        )
    if name not in REQUEST_HEADERS | added:
        raise HeaderError(
            f"the header {name.decode()} does not pass with the bridge's credential: leave it out, ask the "
            "bridge's operator to allow it (request_headers), or bring your own (credentials=brought)"
        )


def _check_sendable(name: bytes, *, tunnel: bool) -> None:
    handshake = name.startswith(_OWN_HANDSHAKE) and not (tunnel and name == SUBPROTOCOL)
    if name in NEVER_SENT or name.startswith(_FORWARDED) or handshake:
        raise HeaderError(f"the header {name.decode()} is never passed on: leave it out")


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
    if not is_header_name(name):
        raise HeaderError("a header's name is not a token in lower case")
    if not _VALUE.fullmatch(value):
        raise HeaderError(f"the header {name.decode()} has a control byte, or space at an end")


def _returns(name: bytes, *, brought: bool, status: int) -> bool:
    if name.startswith(_OWN_HANDSHAKE):
        return False
    if brought or name in RESPONSE_HEADERS:
        return True
    return name == RETRY_AFTER and status in RETRY_STATUSES
