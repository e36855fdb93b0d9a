"""The endpoint as an ASGI application: what may be asked, and who answers it."""

from __future__ import annotations

import time

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from blindrelay.client.endpoint.access import Access
from blindrelay.client.endpoint.admission import Admission
from blindrelay.client.endpoint.content_page import PATH as CONTENT_PATH
from blindrelay.client.endpoint.content_page import ContentPage
from blindrelay.client.endpoint.journal import Journal
from blindrelay.client.endpoint.page import HEADERS
from blindrelay.client.endpoint.pass_through import PassThrough
from blindrelay.client.endpoint.refusal import RefusedError, as_denial, send_error
from blindrelay.client.endpoint.routes import Routes
from blindrelay.client.endpoint.status_page import Status, status_page
from blindrelay.client.endpoint.tunnels import Tunnels
from blindrelay.client.key_ring import KeyRing
from blindrelay.client.transport import SealedTransport


class OwnNamesOnly:
    """ASGI middleware: refuses what a web page may have sent. See access.py."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._access.check_names(scope["headers"])
        except RefusedError as error:
            is_websocket = scope["type"] == "websocket"
            await send_error(error, scope["path"], as_denial(send) if is_websocket else send)
        else:
            await self._app(scope, receive, send)


def endpoint_app(
    transport: SealedTransport, keys: KeyRing, journal: Journal, routes: Routes, access: Access
) -> Starlette:
    """The application. `keys` are the transport's, `journal` observes it."""

    async def page(_: Request) -> Response:
        status = Status(
            transport.connection, keys.directories, journal.entries, time.time(), journal.keeps_content
        )
        return HTMLResponse(status_page(status), headers=HEADERS)

    admission = Admission(routes, access)
    requests = PassThrough(transport, admission, journal)
    websockets = Tunnels(transport, admission, journal)

    async def provider(scope: Scope, receive: Receive, send: Send) -> None:
        await (websockets if scope["type"] == "websocket" else requests)(scope, receive, send)

    contents = Route(CONTENT_PATH, ContentPage(journal, access).answer, methods=["GET", "POST"])
    return Starlette(
        routes=[
            Route("/", page),
            Route("/healthz", _healthy),
            *([contents] if journal.keeps_content else []),
            Mount("", provider),
        ],
        middleware=[Middleware(OwnNamesOnly, access=access)],
    )


async def _healthy(_: Request) -> Response:
    """That this process answers; `blindrelay doctor` looks further."""
    return JSONResponse({"status": "ok"}, headers={"cache-control": "no-store"})
