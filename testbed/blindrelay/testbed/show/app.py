"""The page and what it asks for, below a path that only who started it knows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from blindrelay.client.endpoint import Access, OwnNamesOnly
from blindrelay.testbed.html import render
from blindrelay.testbed.show.events import Events
from blindrelay.testbed.show.exchange import RELAYS, SHAPES, Exchanges
from blindrelay.testbed.show.tricks import TRICKS

MAX_PROMPT: Final = 2_000
"""Characters."""

MAX_BODY: Final = 65_536
"""Bytes: such a prompt in JSON, however it is escaped."""

_STATIC: Final = Path(__file__).with_name("static")
_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def show_app(
    exchanges: Exchanges, events: Events, access: Access, token: str, said: Mapping[str, str]
) -> Starlette:
    """The application. `said` has the words for the page's placeholders."""

    async def page(_: Request) -> Response:
        return HTMLResponse(
            render(_STATIC / "page.html", tricks=TRICKS, shapes=SHAPES, **said), headers=_HEADERS
        )

    async def stream(_: Request) -> Response:
        async def lines() -> AsyncIterator[str]:
            yield ": here\n\n"
            async for line in events.heard():
                yield f"data: {line}\n\n"

        return StreamingResponse(lines(), headers=_HEADERS, media_type="text/event-stream")

    running: set[asyncio.Task[None]] = set()

    async def ask(request: Request) -> Response:
        wanted = await _json(request)
        prompt, relay = wanted.get("prompt"), wanted.get("relay")
        shape = wanted.get("shape", "balanced")
        if not isinstance(shape, str) or shape not in SHAPES or not isinstance(relay, str):
            shape, relay = "", ""
        if not isinstance(prompt, str) or not prompt.strip() or relay not in RELAYS:
            return JSONResponse({"error": "a prompt, and a relay and a shape that there are"}, 400)
        task = asyncio.create_task(exchanges.ask(prompt[:MAX_PROMPT], relay, shape))
        running.add(task)
        task.add_done_callback(running.discard)
        return JSONResponse({}, 202)

    below = [
        Route("/", page),
        Route("/view.js", _file("view.js", "text/javascript")),
        Route("/view.css", _file("view.css", "text/css")),
        Route("/events", stream),
        Route("/ask", ask, methods=["POST"]),
    ]
    return Starlette(
        routes=[Mount(f"/{token}", routes=below)], middleware=[Middleware(OwnNamesOnly, access=access)]
    )


async def _json(request: Request) -> dict[str, Any]:
    """The body's object; an empty one for anything else, and for what is too long."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            return {}
    try:
        wanted = json.loads(body)
    except ValueError:
        return {}
    return wanted if isinstance(wanted, dict) else {}


def _static(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")


def _file(name: str, kind: str) -> Callable[[Request], Response]:
    def serve(_: Request) -> Response:
        return Response(_static(name), headers=_HEADERS, media_type=kind)

    return serve
