"""Responses of the pages: templates, their files, and headers that let nothing else load or run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HERE: Final = Path(__file__).parent

_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class OwnHeaders:
    """ASGI middleware: each response lets nothing else load or run, and only the pages' files are cached."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_file = scope.get("path", "").startswith("/static/")

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update({**_HEADERS, "cache-control": "no-cache" if is_file else "no-store"})
            await send(message)

        await self._app(scope, receive, marked)


def rendered(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A response with a template; everything in `values` is escaped."""
    return HTMLResponse(_TEMPLATES.get_template(template).render(values), status)


def see_other(path: str, *, partial: bool = False) -> Response:
    """Sends the browser to another page. With `partial`, htmx loads it as a whole page."""
    return Response(headers={"hx-redirect": path}) if partial else RedirectResponse(path, 303)


def is_partial(request: Request) -> bool:
    """Whether htmx asks, for a part of a page that is shown already."""
    return "hx-request" in request.headers


def static_files() -> StaticFiles:
    """Serves the pages' own files: the style, and htmx from the npm package, unchanged."""
    return StaticFiles(directory=_HERE / "static")


def clock(seconds: float) -> str:
    """Unix seconds as a date and a time of day, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"


def day(seconds: float) -> str:
    """The date alone, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def duration(seconds: float) -> str:
    """A time span in its two largest units: "2 d 3 h", "5 min 10 s", "8 s"."""
    rest = max(0, int(seconds))
    parts: list[str] = []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
_TEMPLATES.filters.update(clock=clock, day=day, duration=duration, thousands="{:,}".format)
