"""The endpoint as an ASGI application: its own pages, and everything else for the providers."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blindrelay.client.endpoint.access import Access
from blindrelay.client.endpoint.admission import Admission
from blindrelay.client.endpoint.content_page import PATH as CONTENT_PATH
from blindrelay.client.endpoint.content_page import ContentPage
from blindrelay.client.endpoint.exchange_log import KEPT_EXCHANGES, ExchangeLog
from blindrelay.client.endpoint.pages import page
from blindrelay.client.endpoint.pass_through import PassThrough
from blindrelay.client.endpoint.refusal import RefusedError, as_denial, send_error
from blindrelay.client.endpoint.request_target import Unsealed, is_server_wide, with_path
from blindrelay.client.endpoint.response_headers import MARK
from blindrelay.client.endpoint.routes import Routes
from blindrelay.client.endpoint.tunnels import Tunnels
from blindrelay.client.key_ring import KeyRing
from blindrelay.client.provider_apis import Api
from blindrelay.client.transport import SealedTransport
from blindrelay.v1.inner_pb2 import Credential

_STARTS = ("http.response.start", "websocket.http.response.start", "websocket.accept")


class OwnNamesOnly:
    """ASGI middleware: refuses requests that a web page may have sent, or that are for another server.

    See access.py and request_target.py. `api` decides the shape of errors.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        unsealed: Unsealed | None = None,
        api: Callable[[Scope], Api] = lambda scope: Api(None, scope["path"]),
    ) -> None:
        self._app = app
        self._access = access
        self._unsealed = unsealed or Unsealed()
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        send = _marked(send)
        try:
            if is_server_wide(scope):
                self._access.check_names(scope["headers"])
                await Response(status_code=204)(scope, receive, send)
                return
            scope = with_path(scope, self._access, self._unsealed)
            self._access.check_names(scope["headers"])
        except RefusedError as error:
            is_websocket = scope["type"] == "websocket"
            await send_error(error, self._api(scope), as_denial(send) if is_websocket else send)
        else:
            await self._app(scope, receive, send)


def _marked(send: Send) -> Send:
    async def marked(message: Message) -> None:
        if message["type"] in _STARTS:
            headers = [header for header in message.get("headers", []) if header[0] != MARK[0]]
            message = {**message, "headers": [*headers, MARK]}
        await send(message)

    return marked


def endpoint_app(
    transport: SealedTransport,
    keys: KeyRing,
    exchange_log: ExchangeLog,
    routes: Routes,
    access: Access,
    unsealed: Unsealed,
) -> ASGIApp:
    """The application. `keys` and `exchange_log` belong to the transport; `unsealed` counts refusals."""

    async def status(_: Request) -> Response:
        connection = transport.connection
        return page(
            "status.html",
            connection=connection,
            brings_credential=connection.credential == Credential.CREDENTIAL_BROUGHT,
            directories=keys.directories,
            entries=exchange_log.entries,
            kept_exchanges=KEPT_EXCHANGES,
            keeps_content=exchange_log.keeps_content,
            now=time.time(),
        )

    admission = Admission(routes, access)
    requests = PassThrough(transport, admission, exchange_log)
    websockets = Tunnels(transport, admission, exchange_log)

    async def provider(scope: Scope, receive: Receive, send: Send) -> None:
        await (websockets if scope["type"] == "websocket" else requests)(scope, receive, send)

    contents = Route(CONTENT_PATH, ContentPage(exchange_log, access).response, methods=["GET", "POST"])
    app = Starlette(
        routes=[
            Route("/", status),
            Route("/healthz", _healthy),
            *([contents] if exchange_log.keeps_content else []),
            Mount("", provider),
        ],
    )
    return OwnNamesOnly(app, access, unsealed, admission.api)


async def _healthy(_: Request) -> Response:
    """Shows that this process runs; `blindrelay doctor` checks the rest."""
    return JSONResponse({"status": "ok"}, headers={"cache-control": "no-store"})
