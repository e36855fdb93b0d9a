"""The page at /content, only with `--show-content`: what was said, for those who have the token."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response

from blindrelay.client.endpoint.access import Access
from blindrelay.client.endpoint.content import KEPT_BYTES
from blindrelay.client.endpoint.exchange_log import ExchangeLog
from blindrelay.client.endpoint.pages import page

PATH: Final = "/content"

_MAX_FORM: Final = 1_024
"""Bytes. A token takes fifty."""


class ContentPage:
    """Takes the token in a form, because a browser keeps URLs in its history, or in a header."""

    def __init__(self, exchange_log: ExchangeLog, access: Access) -> None:
        self._exchange_log = exchange_log
        self._access = access

    async def response(self, request: Request) -> Response:
        """The response to GET and POST."""
        is_form = request.method == "POST"
        token = await _form_token(request) if is_form else b""
        if self._access.shows_token(request.headers.raw) or self._access.is_token(token):
            return page("content.html", entries=self._exchange_log.entries, kept_bytes=KEPT_BYTES)
        return page("content_form.html", 403 if is_form else 200, is_wrong=is_form)


async def _form_token(request: Request) -> bytes:
    """The form's token; empty if it is missing or the form is too large."""
    form = b""
    async for data in request.stream():
        form += data
        if len(form) > _MAX_FORM:
            return b""
    return parse_qs(form.decode("latin-1")).get("token", [""])[0].strip().encode()
