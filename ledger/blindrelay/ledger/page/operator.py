"""The operator's pages: sign-in by a one-time link, and the path of each page."""

from __future__ import annotations

from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from blindrelay.ledger.page.account import (
    account,
    add_credit,
    set_expiry,
    set_limits,
    set_state,
    statement_file,
)
from blindrelay.ledger.page.accounts import accounts, add_account
from blindrelay.ledger.page.audit import audit
from blindrelay.ledger.page.errors import FormError
from blindrelay.ledger.page.forms import Form
from blindrelay.ledger.page.overview import overview
from blindrelay.ledger.page.responses import rendered
from blindrelay.ledger.page.settlement import check_books, settlement
from blindrelay.ledger.page.sign_in import OneTimeLinks
from blindrelay.ledger.page.site import Act, Show, Site
from blindrelay.ledger.page.tokens import issue_token, revoke_token, rotate_token
from blindrelay.ledger.page.vouchers import add_vouchers, revoke_voucher, vouchers

_ACCOUNT: Final = "/accounts/{account}"

_PAGES: Final[dict[str, Show]] = {
    "/": overview,
    "/accounts": accounts,
    _ACCOUNT: account,
    f"{_ACCOUNT}/statement.csv": statement_file,
    "/vouchers": vouchers,
    "/settlement": settlement,
    "/audit": audit,
}

_ACTIONS: Final[dict[str, tuple[Act, str]]] = {
    "/accounts": (add_account, "/accounts"),
    f"{_ACCOUNT}/limits": (set_limits, _ACCOUNT),
    f"{_ACCOUNT}/credit": (add_credit, _ACCOUNT),
    f"{_ACCOUNT}/state": (set_state, _ACCOUNT),
    f"{_ACCOUNT}/expiry": (set_expiry, _ACCOUNT),
    f"{_ACCOUNT}/tokens": (issue_token, _ACCOUNT),
    f"{_ACCOUNT}/tokens/rotate": (rotate_token, _ACCOUNT),
    f"{_ACCOUNT}/tokens/revoke": (revoke_token, _ACCOUNT),
    "/vouchers": (add_vouchers, "/vouchers"),
    "/vouchers/revoke": (revoke_voucher, "/vouchers"),
    "/settlement/check": (check_books, "/settlement"),
}


def operator_app(site: Site, links: OneTimeLinks, names: list[str]) -> Starlette:
    """The application. `links` sign the operator in; browsers use it under one of `names`."""

    async def sign_in(request: Request) -> Response:
        """A link's page has a button, so that a program which previews links does not use it up."""
        if request.method == "GET":
            return rendered("sign_in.html", code=request.query_params.get("code", ""), is_wrong=False)
        if links.redeem(await _code(request)):
            return site.signed_in()
        return rendered("sign_in.html", 403, code="", is_wrong=True)

    return site.app(_PAGES, _ACTIONS, sign_in, names)


async def _code(request: Request) -> str:
    try:
        return (await Form.read(request)).optional_text("code")
    except FormError:
        return ""
