"""Which headers of a response are passed on to the program, and which the endpoint adds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urljoin

from blindrelay.v1.http_headers import HOP_BY_HOP, Header, nominated

MARK: Final = (b"x-blindrelay-endpoint", b"1")
"""On every response through the endpoint, also those that the endpoint makes."""

_OF_AN_ORIGIN: Final = frozenset(
    {
        b"alt-svc",
        b"clear-site-data",
        b"content-security-policy",
        b"content-security-policy-report-only",
        b"link",
        b"nel",
        b"origin-agent-cluster",
        b"permissions-policy",
        b"refresh",
        b"report-to",
        b"reporting-endpoints",
        b"service-worker-allowed",
        b"set-cookie",
        b"set-cookie2",
        b"sourcemap",
        b"strict-transport-security",
        b"timing-allow-origin",
        b"x-content-type-options",
        b"x-frame-options",
        b"x-sourcemap",
    }
)
"""They control an origin or a page in a browser, which here is the endpoint's, not the provider's."""

_OF_AN_ORIGIN_TOO: Final = (b"access-control-", b"cross-origin-", b"x-blindrelay-endpoint")
"""Prefixes: permissions for pages of other origins, and our own mark."""

_SANDBOX: Final = (
    (b"content-security-policy", b"sandbox"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
)
"""A browser then isolates a provider's HTML or SVG, runs no scripts in it, and does not guess types."""

_RELATIVE: Final = frozenset({b"location", b"content-location"})
"""Headers whose value is a URL, possibly relative (RFC 9110, sections 10.2.2 and 8.7)."""

_ABSOLUTE: Final = ("http://", "https://", "ws://", "wss://")

_EVENTS: Final = b"text/event-stream"


def passed_on(headers: Iterable[Header], url: str, local_url: Callable[[str], str | None]) -> list[Header]:
    """The provider's headers that are passed on, in their order.

    `local_url` turns a header's URL into one of this endpoint. A URL that leads elsewhere is left out,
    because a program that follows it would send in clear. `url` is the request's.
    """
    received = [(name.lower(), value) for name, value in headers]
    dropped = HOP_BY_HOP | _OF_AN_ORIGIN | nominated(received)
    passed: list[Header] = []
    for name, value in received:
        if name in dropped or name.startswith(_OF_AN_ORIGIN_TOO):
            continue
        target = _target(name, value, url)
        if target is None:
            passed.append((name, value))
        elif (local := local_url(target)) is not None:
            passed.append((name, local.encode()))
    return [*passed, *_against_buffering(passed), *_SANDBOX]


def _target(name: bytes, value: bytes, url: str) -> str | None:
    """The absolute URL in the header, if it has one."""
    text = value.decode("latin-1").strip()
    if name not in _RELATIVE:
        return text if text.lower().startswith(_ABSOLUTE) else None
    try:
        return urljoin(url, text)
    except ValueError:
        return text  # not a URL of any provider


def _against_buffering(headers: list[Header]) -> list[Header]:
    """Headers that keep a web server in front of the endpoint from buffering a stream."""
    names = dict(headers)
    if not names.get(b"content-type", b"").lower().startswith(_EVENTS):
        return []
    wanted = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
    return [(name, value) for name, value in wanted if name not in names]
