"""The customer's page: one account, for anyone who shows a token of it."""

from __future__ import annotations

import grpc
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from blindrelay.admin.v1.admin_pb2 import (
    FindAccountRequest,
    FindAccountResponse,
    GetAccountRequest,
    RedeemVoucherRequest,
    RotateTokenRequest,
)
from blindrelay.ledger.page.admin_calls import AdminCalls
from blindrelay.ledger.page.errors import FormError, SignedOutError
from blindrelay.ledger.page.forms import Form
from blindrelay.ledger.page.quotas import quotas
from blindrelay.ledger.page.responses import rendered
from blindrelay.ledger.page.sign_in import Notice
from blindrelay.ledger.page.site import Act, Show, Site, Visit
from blindrelay.ledger.page.statements import csv_response, read_statement
from blindrelay.serving.tokens import token_digest


def customer_app(site: Site, names: list[str]) -> Starlette:
    """The application. Browsers use it under one of `names`."""

    async def sign_in(request: Request) -> Response:
        if request.method == "GET":
            return rendered("customer_sign_in.html", is_wrong=False)
        digest = token_digest(await _token(request))
        if await _found(site.calls, digest):
            return site.signed_in(digest)
        return rendered("customer_sign_in.html", 403, is_wrong=True)

    pages: dict[str, Show] = {"/": own_account, "/statement.csv": own_statement_file}
    actions: dict[str, tuple[Act, str]] = {
        "/token/rotate": (rotate_own_token, "/"),
        "/voucher": (redeem_voucher, "/"),
    }
    return site.app(pages, actions, sign_in, names)


async def own_account(visit: Visit) -> Response:
    """The page at /: balance, limits, tokens and statement."""
    own = await _own(visit)
    found = await visit.ask(visit.admin.GetAccount, GetAccountRequest(account=own.account))
    statement = await read_statement(visit, own.account)
    tokens = [each for each in found.tokens if not each.revoked_at]
    return visit.page(
        "customer.html",
        account=found.account,
        limits=found.account.limits,
        quotas=quotas(found.account),
        tokens=tokens,
        own_token=own.token,
        statement=statement,
        path="",
    )


async def own_statement_file(visit: Visit) -> Response:
    """/statement.csv."""
    return await csv_response(visit, (await _own(visit)).account)


async def rotate_own_token(visit: Visit, _: Form) -> Notice:
    """Replaces the token that signed in. The session goes on with the new one."""
    own = await _own(visit)
    done = await visit.ask(visit.admin.RotateToken, RotateTokenRequest(id=own.token))
    visit.session.token_digest = token_digest(done.token)
    return Notice(
        "Your token was replaced, and the old one is revoked. The new one is shown only now:",
        secret=done.token,
    )


async def redeem_voucher(visit: Visit, form: Form) -> Notice:
    """Adds a voucher's units to the account."""
    own = await _own(visit)
    asked = RedeemVoucherRequest(account=own.account, code=form.text("code", "the code"))
    done = await visit.ask(visit.admin.RedeemVoucher, asked)
    return Notice(f"{done.units:,} units were added. The balance is {done.account.balance:,}.")


async def _own(visit: Visit) -> FindAccountResponse:
    """The account of the session's token. Raises SignedOutError if the token is not valid any more."""
    own = await _found(visit.calls, visit.session.token_digest)
    if own is None:
        raise SignedOutError
    return own


async def _found(calls: AdminCalls, digest: bytes) -> FindAccountResponse | None:
    """The account that a token belongs to, or None. Raises grpc.aio.AioRpcError if the ledger fails."""
    try:
        return await calls.ask(calls.stub.FindAccount, FindAccountRequest(token_digest=digest))
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return None
        raise


async def _token(request: Request) -> str:
    """The form's token; empty if there is none, or if it cannot be one."""
    try:
        token = (await Form.read(request)).optional_text("token")
    except FormError:
        return ""
    return token if token.isascii() else ""
