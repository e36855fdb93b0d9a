"""The operator's vouchers."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from blindrelay.admin.v1.admin_pb2 import AddVouchersRequest, ListVouchersRequest, RevokeVoucherRequest
from blindrelay.ledger.page.forms import Form
from blindrelay.ledger.page.sign_in import Notice
from blindrelay.ledger.page.site import Visit

VOUCHERS_PER_PAGE: Final = 100

MAX_VOUCHERS: Final = 1_000
"""Vouchers of one form, as many as the admin service makes at once."""


async def vouchers(visit: Visit) -> Response:
    """The page at /vouchers: the newest, or those older than ?after=."""
    after = visit.request.query_params.get("after", "")
    asked = ListVouchersRequest(after=after, limit=VOUCHERS_PER_PAGE + 1)
    found = list((await visit.ask(visit.admin.ListVouchers, asked)).vouchers)
    shown = found[:VOUCHERS_PER_PAGE]
    more = shown[-1].id if len(found) > len(shown) else ""
    return visit.page("vouchers.html", vouchers=shown, after=after, more=more, max_vouchers=MAX_VOUCHERS)


async def add_vouchers(visit: Visit, form: Form) -> Notice:
    """Makes vouchers, whose codes the next page shows once."""
    asked = AddVouchersRequest(
        units=form.integer("units", "the number of units", minimum=1),
        count=form.integer("count", "the number of vouchers", minimum=1, maximum=MAX_VOUCHERS),
        expires_at=form.end_of_day("expires", "the last day") or 0,
        reference=form.optional_text("reference"),
    )
    done = await visit.ask(visit.admin.AddVouchers, asked)
    what = "voucher was" if len(done.codes) == 1 else "vouchers were"
    return Notice(
        f"{len(done.codes):,} {what} made. The codes are shown only now:", secret="\n".join(done.codes)
    )


async def revoke_voucher(visit: Visit, form: Form) -> Notice:
    """Revokes a voucher that is not redeemed."""
    done = await visit.ask(visit.admin.RevokeVoucher, RevokeVoucherRequest(id=form.text("id", "the voucher")))
    return Notice(f"The voucher {done.voucher.id} was revoked.")
