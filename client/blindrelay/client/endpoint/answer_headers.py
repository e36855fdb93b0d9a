"""Which of an answer's headers go on to the program, and how they are spelt."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urljoin

from blindrelay.v1.http_headers import HOP_BY_HOP, Header, nominated

_NOT_FOR_LOOPBACK: Final = frozenset({b"alt-svc", b"set-cookie", b"strict-transport-security"})
"""They speak of the provider's host, and every server on loopback would share them."""

_CROSS_ORIGIN: Final = b"access-control-"
"""What the provider allows to web pages, the endpoint does not."""

_RELATIVE: Final = frozenset({b"location", b"content-location"})
"""Headers whose value is a URL, relative or not (RFC 9110, sections 10.2.2 and 8.7)."""

_ABSOLUTE: Final = ("http://", "https://", "ws://", "wss://")

_EVENTS: Final = b"text/event-stream"


def passed_on(headers: Iterable[Header], url: str, local_url: Callable[[str], str | None]) -> list[Header]:
    """The provider's headers in their order.

    A header that is a URL is spelt as one of this endpoint's, by `local_url`; one that leads anywhere else
    is left out, since whoever followed it would go there in clear. `url` is the request's own.
    """
    received = [(name.lower(), value) for name, value in headers]
    dropped = HOP_BY_HOP | _NOT_FOR_LOOPBACK | nominated(received)
    passed: list[Header] = []
    for name, value in received:
        if name in dropped or name.startswith(_CROSS_ORIGIN):
            continue
        target = _target(name, value, url)
        if target is None:
            passed.append((name, value))
        elif (local := local_url(target)) is not None:
            passed.append((name, local.encode()))
    return passed + _against_buffering(passed)


def _target(name: bytes, value: bytes, url: str) -> str | None:
    """The absolute URL that the header leads to, if it is one that leads somewhere."""
    text = value.decode("latin-1").strip()
    if name not in _RELATIVE:
        return text if text.lower().startswith(_ABSOLUTE) else None
    try:
        return urljoin(url, text)
    except ValueError:
        return text  # no URL: it leads to no provider


def _against_buffering(headers: list[Header]) -> list[Header]:
    """What keeps a web server in front of the endpoint from gathering a stream."""
    names = dict(headers)
    if not names.get(b"content-type", b"").lower().startswith(_EVENTS):
        return []
    wanted = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
    return [(name, value) for name, value in wanted if name not in names]
