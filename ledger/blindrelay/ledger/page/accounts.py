"""The operator's list of accounts."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from blindrelay.admin.v1.admin_pb2 import AddAccountRequest, ListAccountsRequest
from blindrelay.ledger.page.forms import Form
from blindrelay.ledger.page.sign_in import Notice
from blindrelay.ledger.page.site import Visit

ACCOUNTS_PER_PAGE: Final = 50


async def accounts(visit: Visit) -> Response:
    """The page at /accounts: by name, those that contain ?find=, after ?after=."""
    query = visit.request.query_params
    find, after = query.get("find", "").strip(), query.get("after", "")
    asked = ListAccountsRequest(contains=find, after=after, limit=ACCOUNTS_PER_PAGE + 1)
    found = list((await visit.ask(visit.admin.ListAccounts, asked)).accounts)
    shown = found[:ACCOUNTS_PER_PAGE]
    more = shown[-1].name if len(found) > len(shown) else ""
    return visit.page("accounts.html", accounts=shown, find=find, after=after, more=more)


async def add_account(visit: Visit, form: Form) -> Notice:
    """Adds an account, and shows its page."""
    asked = AddAccountRequest(name=form.text("name", "the name"))
    added = await visit.ask(visit.admin.AddAccount, asked)
    name = added.account.name
    return Notice(
        f"The account {name} was added. It is served as soon as it has units.", page=f"/accounts/{name}"
    )
