"""The page and what it asks for, below a path that only who started it knows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from html import escape
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from blindrelay.client.endpoint import Access, OwnNamesOnly
from blindrelay.testbed.show.events import Events
from blindrelay.testbed.show.exchange import Exchanges
from blindrelay.testbed.show.tricks import TRICKS

MAX_PROMPT: Final = 2_000
"""Characters."""

_STATIC: Final = Path(__file__).with_name("static")
_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def show_app(
    exchanges: Exchanges, events: Events, access: Access, token: str, parts: dict[str, str]
) -> Starlette:
    """The application. `parts` says in a word what each of the three is, below its name."""

    async def page(_: Request) -> Response:
        text = (_STATIC / "page.html").read_text(encoding="utf-8")
        for name, said in parts.items():
            text = text.replace(f"{{{name}}}", escape(said))
        return HTMLResponse(text.replace("{tricks}", _switches()), headers=_HEADERS)

    async def script(_: Request) -> Response:
        return Response((_STATIC / "view.js").read_text(), headers=_HEADERS, media_type="text/javascript")

    async def style(_: Request) -> Response:
        return Response((_STATIC / "view.css").read_text(), headers=_HEADERS, media_type="text/css")

    async def stream(_: Request) -> Response:
        async def lines() -> AsyncIterator[str]:
            yield ": here\n\n"
            async for line in events.heard():
                yield f"data: {line}\n\n"

        return StreamingResponse(lines(), headers=_HEADERS, media_type="text/event-stream")

    running: set[asyncio.Task[None]] = set()

    async def ask(request: Request) -> Response:
        prompt, trick = _asked(await request.body())
        if not prompt.strip() or trick not in ("", *TRICKS):
            return JSONResponse({"error": "a prompt, and a switch that there is"}, 400)
        task = asyncio.create_task(exchanges.ask(prompt, trick))
        running.add(task)
        task.add_done_callback(running.discard)
        return JSONResponse({}, 202)

    below = [
        Route("/", page),
        Route("/view.js", script),
        Route("/view.css", style),
        Route("/events", stream),
        Route("/ask", ask, methods=["POST"]),
    ]
    return Starlette(
        routes=[Mount(f"/{token}", routes=below)], middleware=[Middleware(OwnNamesOnly, access=access)]
    )


def _asked(body: bytes) -> tuple[str, str]:
    """The prompt and the name of the switch; an empty prompt if the body is not what the page sends."""
    try:
        wanted = json.loads(body)
    except ValueError:
        return "", ""
    if not isinstance(wanted, dict):
        return "", ""
    return str(wanted.get("prompt", ""))[:MAX_PROMPT], str(wanted.get("trick", ""))


def _switches() -> str:
    return "\n".join(
        f'<label><input type="radio" name="trick" value="{name}"> {escape(trick.label)}'
        f'<span class="about">{escape(trick.about)}</span></label>'
        for name, trick in TRICKS.items()
    )
