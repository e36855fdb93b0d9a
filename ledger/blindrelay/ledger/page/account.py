"""The operator's page of one account, and what can be done there."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from blindrelay.admin.v1.admin_pb2 import (
    AddCreditRequest,
    GetAccountRequest,
    Limits,
    Period,
    Quota,
    SetLimitsRequest,
    UpdateAccountRequest,
)
from blindrelay.ledger.page.errors import FormError
from blindrelay.ledger.page.forms import MAX_INTEGER, Form
from blindrelay.ledger.page.quotas import quotas
from blindrelay.ledger.page.sign_in import Notice
from blindrelay.ledger.page.site import Visit
from blindrelay.ledger.page.statements import csv_response, read_statement

_PERIODS: Final = {"day": Period.PERIOD_DAY, "month": Period.PERIOD_MONTH, "ever": Period.PERIOD_UNSPECIFIED}
_MAX_UINT32: Final = 2**32 - 1


async def account(visit: Visit) -> Response:
    """The page at /accounts/NAME."""
    name = _name(visit)
    found = await visit.ask(visit.admin.GetAccount, GetAccountRequest(account=name))
    statement = await read_statement(visit, name)
    tokens = sorted(found.tokens, key=lambda each: (each.revoked_at > 0, -each.created_at))
    return visit.page(
        "account.html",
        account=found.account,
        limits=found.account.limits,
        quotas=quotas(found.account),
        tokens=tokens,
        statement=statement,
        path=f"/accounts/{name}",
    )


async def statement_file(visit: Visit) -> Response:
    """/accounts/NAME/statement.csv."""
    return await csv_response(visit, _name(visit))


async def set_limits(visit: Visit, form: Form) -> Notice:
    """Sets all limits of the form. An empty field removes the limit."""
    limits = Limits(
        max_units=form.optional_integer("max_units", "the most units of one exchange", minimum=1),
        concurrent=form.optional_integer(
            "concurrent", "the number of exchanges at once", minimum=1, maximum=_MAX_UINT32
        ),
        overdraft=form.optional_integer("overdraft", "the overdraft"),
        rate=form.optional_number("rate", "the rate"),
        burst=form.optional_integer("burst", "the burst", minimum=1, maximum=_MAX_UINT32),
        units=_quota(form, "units"),
        exchanges=_quota(form, "exchanges"),
        bytes=_quota(form, "bytes"),
    )
    asked = SetLimitsRequest(account=_name(visit), limits=limits)
    asked.mask.paths.extend(field.name for field in Limits.DESCRIPTOR.fields)
    await visit.ask(visit.admin.SetLimits, asked)
    return Notice("The limits were set.")


async def add_credit(visit: Visit, form: Form) -> Notice:
    """Adds units, or takes them back."""
    asked = AddCreditRequest(
        account=_name(visit),
        units=form.integer("units", "the number of units", minimum=-MAX_INTEGER),
        reference=form.text("reference", "the reference"),
    )
    done = await visit.ask(visit.admin.AddCredit, asked)
    if done.repeated_reference:
        return Notice(f"Nothing was changed: {asked.reference} is in the books already.", is_error=True)
    done_with = "added" if asked.units >= 0 else "taken back"
    return Notice(
        f"{abs(asked.units):,} units were {done_with} as {asked.reference}. "
        f"The balance is {done.account.balance:,}."
    )


async def set_state(visit: Visit, form: Form) -> Notice:
    """Enables or disables the account."""
    enabled = form.text("enabled", "what to do") == "yes"
    await visit.ask(visit.admin.UpdateAccount, UpdateAccountRequest(account=_name(visit), enabled=enabled))
    if enabled:
        return Notice("The account was enabled.")
    return Notice("The account was disabled. Its leases are revoked, and running exchanges end.")


async def set_expiry(visit: Visit, form: Form) -> Notice:
    """Sets the day after which the account is not served, or removes it."""
    ends = form.end_of_day("expires", "the last day")
    await visit.ask(
        visit.admin.UpdateAccount, UpdateAccountRequest(account=_name(visit), expires_at=ends or 0)
    )
    return Notice("The account does not expire." if ends is None else "The last day was set.")


def _quota(form: Form, name: str) -> Quota | None:
    amount = form.optional_integer(name, f"the quota of {name}")
    if amount is None:
        return None
    per = form.text(f"{name}_per", f"the period of the quota of {name}")
    if per not in _PERIODS:
        raise FormError("a period is a day, a month or ever")
    return Quota(amount=amount, per=_PERIODS[per])


def _name(visit: Visit) -> str:
    name: str = visit.request.path_params["account"]
    return name
