"""The page at /content, with `--show-content` alone: what was said, for whoever has the token."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from blindrelay.client.endpoint.access import Access
from blindrelay.client.endpoint.content import KEPT_BYTES, Content, Excerpt
from blindrelay.client.endpoint.journal import Entry, Journal
from blindrelay.client.endpoint.page import HEADERS, clock, page, short

PATH: Final = "/content"

_MAX_FORM: Final = 1_024
"""Bytes: a token takes fifty."""


class ContentPage:
    """Asks for the token, in a form, since a URL stays in a browser's history; takes it in a header too."""

    def __init__(self, journal: Journal, access: Access) -> None:
        self._journal = journal
        self._access = access

    async def response(self, request: Request) -> Response:
        """To GET and POST."""
        is_form = request.method == "POST"
        token = await _token_of(request) if is_form else b""
        if self._access.shows_token(request.headers.raw) or self._access.is_token(token):
            return _response(_contents(self._journal.entries), 200)
        return _response(_asking(is_wrong=is_form), 403 if is_form else 200)


async def _token_of(request: Request) -> bytes:
    """The form's token; empty if there is none, or too much of it."""
    form = b""
    async for piece in request.stream():
        form += piece
        if len(form) > _MAX_FORM:
            return b""
    return parse_qs(form.decode("latin-1")).get("token", [""])[0].strip().encode()


def _response(body: Iterator[str], status: int) -> Response:
    return HTMLResponse(page("BlindRelay: contents", body), status, headers=HEADERS)


def _asking(*, is_wrong: bool) -> Iterator[str]:
    yield '<header><h1>Contents</h1>\n<p><a href="/">Back</a></p></header>'
    yield f'<section><form method="post" action="{PATH}">'
    if is_wrong:
        yield '<p class="bad" role="alert">This is not the endpoint\'s token.</p>'
    yield '<label for="token">The endpoint\'s token, from <code>blindrelay proxy --show-token</code></label>'
    yield '<input id="token" name="token" type="password" autocomplete="off" required autofocus>'
    yield "<div><button>Show what was said</button></div>\n</form></section>"


def _contents(entries: list[Entry]) -> Iterator[str]:
    yield '<header><h1>Contents</h1>\n<p>What the relay could <em>not</em> see. <a href="/">Back</a></p>'
    yield "</header>"
    yield "<section>"
    shown = [(entry, entry.content) for entry in entries if entry.content is not None]
    if not shown:
        yield "<p>Nothing was sent yet.</p>"
    for entry, content in shown:
        yield from _exchange(entry, content)
    yield (
        f'<p class="note">Of each direction the first {KEPT_BYTES // 1024} KiB, as this endpoint took '
        "and gave it, without headers. It is in this process's memory, and gone with it.</p>\n</section>"
    )


def _exchange(entry: Entry, content: Content) -> Iterator[str]:
    exchange, began = short(entry.view.envelope.exchange_id), clock(entry.view.began)
    status = "" if content.status is None else f" → {content.status}"
    line = f"{escape(content.method)} {escape(content.url)}{status}"
    yield f"<details>\n<summary><code>{line}</code> <small>{began}, exchange {exchange}</small></summary>"
    yield from _excerpt("Request", content.request)
    yield from _excerpt("Response", content.response)
    yield "</details>"


def _excerpt(name: str, excerpt: Excerpt) -> Iterator[str]:
    cut = ", of which this is the beginning" if excerpt.is_cut else ""
    yield f"<h3>{name}: {excerpt.size:,} bytes{cut}</h3>"
    text = excerpt.text
    if text is None:
        yield "<p>No text.</p>"
    elif text:
        yield f"<pre>{escape(text)}</pre>"
