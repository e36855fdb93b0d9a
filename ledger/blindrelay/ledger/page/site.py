"""What the operator's and the customers' pages share: who is signed in, forms, errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar
from urllib.parse import quote

import grpc
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from blindrelay.admin.v1.admin_pb2_grpc import AdminServiceStub
from blindrelay.ledger.page.admin_calls import AdminCalls
from blindrelay.ledger.page.errors import FormError, SignedOutError
from blindrelay.ledger.page.forms import Form
from blindrelay.ledger.page.responses import OwnHeaders, is_partial, rendered, see_other, static_files
from blindrelay.ledger.page.sign_in import Clock, Notice, Session, Sessions

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")

_REFUSALS: Final = {
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.OUT_OF_RANGE,
}
"""Statuses of calls whose request is wrong."""


@dataclass(frozen=True)
class Visit:
    """One request of somebody who is signed in.

    Attributes:
        request: the request.
        session: whose it is.
        calls: the ledger's admin service.
        now: Unix seconds.
    """

    request: Request
    session: Session
    calls: AdminCalls
    now: float

    @property
    def admin(self) -> AdminServiceStub:
        """The methods of the admin service, for ask()."""
        return self.calls.stub

    async def ask(
        self, method: grpc.UnaryUnaryMultiCallable[_Request, _Response], request: _Request
    ) -> _Response:
        """Calls a method of the admin service. Raises grpc.aio.AioRpcError."""
        return await self.calls.ask(method, request)

    def page(self, template: str, **values: Any) -> Response:
        """A page from a template, with the notice that was kept for it."""
        path = self.request.url.path
        notice = None if is_partial(self.request) else self.session.taken_notice(path)
        return rendered(template, session=self.session, notice=notice, now=self.now, **values)


Show = Callable[[Visit], Awaitable[Response]]
"""Makes a page."""

Act = Callable[[Visit, Form], Awaitable[Notice]]
"""Does what a form asks for, and says what was done. Raises FormError."""

Endpoint = Callable[[Request], Awaitable[Response]]
"""Serves one path."""


class Site:
    """Pages behind a sign-in.

    Args:
        calls: the ledger's admin service.
        cookie: the session cookie's name.
        is_https: whether the cookie is for https alone.
        now: Unix seconds.
    """

    def __init__(self, calls: AdminCalls, cookie: str, *, is_https: bool, now: Clock) -> None:
        self.calls = calls
        self._cookie = cookie
        self._is_https = is_https
        self._now = now
        self._sessions = Sessions(now)

    def app(
        self,
        pages: dict[str, Show],
        actions: dict[str, tuple[Act, str]],
        sign_in: Endpoint,
        names: list[str],
    ) -> Starlette:
        """The application.

        Args:
            pages: by path.
            actions: by path, each with the path of the page that tells what was done.
            sign_in: serves /sign-in.
            names: the host names that browsers may use.
        """
        return Starlette(
            routes=[
                Route("/sign-in", sign_in, methods=["GET", "POST"]),
                *self._routes(pages, actions),
            ],
            middleware=[
                Middleware(OwnHeaders),
                Middleware(TrustedHostMiddleware, allowed_hosts=names, www_redirect=False),
            ],
            exception_handlers={
                HTTPException: _http_error,
                SignedOutError: self._signed_out,
                grpc.aio.AioRpcError: _call_error,
                Exception: _fault,
            },
        )

    def signed_in(self, token_digest: bytes = b"") -> Response:
        """Begins a session, and shows its first page."""
        secret = self._sessions.start(token_digest)
        response = see_other("/")
        response.set_cookie(self._cookie, secret, secure=self._is_https, httponly=True, samesite="strict")
        return response

    def _routes(self, pages: dict[str, Show], actions: dict[str, tuple[Act, str]]) -> list[BaseRoute]:
        return [
            Route("/sign-out", self._sign_out, methods=["POST"]),
            Mount("/static", static_files()),
            *(Route(path, self._shows(show), methods=["GET"]) for path, show in pages.items()),
            *(Route(path, self._does(*each), methods=["POST"]) for path, each in actions.items()),
        ]

    def _shows(self, show: Show) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            return await show(self._visit(request))

        return endpoint

    def _does(self, act: Act, page: str) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            visit = self._visit(request)
            form = await _own_form(visit)
            try:
                notice = await act(visit, form)
            except FormError as error:
                notice = Notice(f"Nothing was changed: {error}.", is_error=True)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _REFUSALS:
                    raise
                notice = Notice(f"Nothing was changed: {_details(error)}.", is_error=True)
            parameters = {name: quote(value, safe="") for name, value in request.path_params.items()}
            visit.session.notice = replace(notice, page=notice.page or page.format(**parameters))
            return see_other(visit.session.notice.page)

        return endpoint

    def _visit(self, request: Request) -> Visit:
        """Raises SignedOutError without a session."""
        session = self._sessions.find(request.cookies.get(self._cookie, ""))
        if session is None:
            raise SignedOutError
        return Visit(request, session, self.calls, self._now())

    async def _sign_out(self, request: Request) -> Response:
        await _own_form(self._visit(request))
        return self._signed_out(request, SignedOutError())

    def _signed_out(self, request: Request, _: Exception) -> Response:
        self._sessions.end(request.cookies.get(self._cookie, ""))
        response = see_other("/sign-in", partial=is_partial(request))
        response.delete_cookie(self._cookie, secure=self._is_https, httponly=True, samesite="strict")
        return response


async def _own_form(visit: Visit) -> Form:
    """The form of a request. Raises HTTPException if no page of this session has sent it."""
    try:
        form = await Form.read(visit.request)
    except FormError as error:
        raise HTTPException(400, f"Nothing was changed: {error}.") from None
    if not visit.session.sent(form.optional_text("form_token")):
        raise HTTPException(403, "Nothing was changed: the form is older than your session. Reload its page.")
    return form


def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else ""
    return rendered("error.html", status, text="There is no such page." if status == 404 else detail)


def _call_error(_: Request, error: Exception) -> Response:
    """A page about a call to the admin service that failed."""
    if isinstance(error, grpc.aio.AioRpcError) and error.code() in _REFUSALS:
        status = 404 if error.code() is grpc.StatusCode.NOT_FOUND else 400
        return rendered("error.html", status, text=f"There is nothing to show: {_details(error)}.")
    return rendered("error.html", 503, text="The ledger does not answer. Try again in a minute.")


def _fault(_: Request, error: Exception) -> Response:
    return rendered("error.html", 500, text="This page failed. The ledger's log has the traceback.")


def _details(error: grpc.aio.AioRpcError) -> str:
    return (error.details() or error.code().name).removesuffix(".")
