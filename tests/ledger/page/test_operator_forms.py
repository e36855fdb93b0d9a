"""The operator's forms: what each asks the ledger for, and what it tells."""

from __future__ import annotations

from typing import Any

import grpc
import httpx
import pytest

from blindrelay.admin.v1 import admin_pb2
from blindrelay.admin.v1.admin_pb2 import (
    AddAccountResponse,
    AddCreditResponse,
    AddVouchersResponse,
    CheckResponse,
    IssueTokenResponse,
    Limits,
    Period,
    Quota,
    RevokeTokenResponse,
    Token,
)

from .conftest import RunningPages, form_token, send
from .samples import ACME, PATHS, TOKEN

LIMITS_FORM = {
    "units": "2,000,000",
    "units_per": "month",
    "exchanges": "",
    "exchanges_per": "day",
    "bytes": "9",
    "bytes_per": "ever",
    "concurrent": "20",
    "rate": "2.5",
    "burst": "",
    "max_units": "",
    "overdraft": "0",
}

LIMITS_SET = Limits(
    concurrent=20,
    overdraft=0,
    rate=2.5,
    units=Quota(amount=2_000_000, per=Period.PERIOD_MONTH),
    bytes=Quota(amount=9),
)


def test_limits_are_set_as_a_whole(operator: httpx.Client, running: RunningPages) -> None:
    assert "The limits were set." in send(operator, "/accounts/acme/limits", LIMITS_FORM)
    (asked,) = running.admin.requests("SetLimits")
    assert (asked.account, asked.limits) == ("acme", LIMITS_SET)
    assert set(asked.mask.paths) == {field.name for field in Limits.DESCRIPTOR.fields}


DONE: list[tuple[str, dict[str, str], str, dict[str, Any], str]] = [
    ("/accounts", {"name": " acme "}, "AddAccount", {"name": "acme"}, "The account acme was added."),
    (
        "/accounts/acme/credit",
        {"units": "-1,000", "reference": "order 1"},
        "AddCredit",
        {"account": "acme", "units": -1_000, "reference": "order 1"},
        "1,000 units were taken back as order 1. The balance is 1,284,500.",
    ),
    (
        "/accounts/acme/state",
        {"enabled": "no"},
        "UpdateAccount",
        {"account": "acme", "enabled": False},
        "The account was disabled.",
    ),
    (
        "/accounts/acme/expiry",
        {"expires": ""},
        "UpdateAccount",
        {"account": "acme", "expires_at": 0},
        "The account does not expire.",
    ),
    (
        "/accounts/acme/tokens",
        {"name": "ci", "expires": "2026-12-31", "bridges": "br1a br1b", "classes": "0,2", "addresses": ""},
        "IssueToken",
        {
            "account": "acme",
            "name": "ci",
            "expires_at": 1_798_761_599,
            "scope": admin_pb2.Scope(bridges=["br1a", "br1b"], classes=[0, 2]),
        },
        TOKEN,
    ),
    ("/accounts/acme/tokens/rotate", {"id": "t7Kx"}, "RotateToken", {"id": "t7Kx"}, TOKEN),
    (
        "/accounts/acme/tokens/revoke",
        {"id": "t7Kx"},
        "RevokeToken",
        {"id": "t7Kx"},
        "The token laptop was revoked.",
    ),
    (
        "/vouchers",
        {"units": "500", "count": "2", "expires": "", "reference": "fair"},
        "AddVouchers",
        {"units": 500, "count": 2, "reference": "fair"},
        "brv_one\nbrv_two",
    ),
    ("/vouchers/revoke", {"id": "v1"}, "RevokeVoucher", {"id": "v1"}, "was revoked."),
    ("/settlement/check", {}, "Check", {}, "The books do not balance: 3 units are missing."),
]


@pytest.mark.parametrize(("path", "fields", "method", "asked", "told"), DONE, ids=lambda each: str(each)[:30])
def test_each_form_asks_the_ledger_and_tells_once(
    operator: httpx.Client,
    running: RunningPages,
    path: str,
    fields: dict[str, str],
    method: str,
    asked: dict[str, Any],
    told: str,
) -> None:
    running.admin.answers |= {
        "AddAccount": AddAccountResponse(account=ACME),
        "AddCredit": AddCreditResponse(account=ACME),
        "AddVouchers": AddVouchersResponse(codes=["brv_one", "brv_two"]),
        "IssueToken": IssueTokenResponse(token=TOKEN, issued=Token(name="ci")),
        "RevokeToken": RevokeTokenResponse(token=Token(name="laptop")),
        "Check": CheckResponse(problems=["3 units are missing."]),
    }
    text = send(operator, path, fields)
    assert told in text
    request = getattr(admin_pb2, f"{method}Request")(**asked)
    assert running.admin.requests(method) == [request]
    for shown in PATHS:
        assert told not in operator.get(shown).text


def test_new_account_is_shown_where_it_goes_on(operator: httpx.Client, running: RunningPages) -> None:
    running.admin.answers["AddAccount"] = AddAccountResponse(account=ACME)
    token = form_token(operator.get("/accounts").text)
    answer = operator.post("/accounts", data={"name": "acme", "form_token": token})
    assert answer.url.path == "/accounts/acme"


def test_repeated_reference_is_told(operator: httpx.Client, running: RunningPages) -> None:
    running.admin.answers["AddCredit"] = AddCreditResponse(account=ACME, repeated_reference=True)
    text = send(operator, "/accounts/acme/credit", {"units": "5", "reference": "order 1"})
    assert "Nothing was changed: order 1 is in the books already." in text


def test_what_a_form_gets_wrong_is_told_and_not_asked(operator: httpx.Client, running: RunningPages) -> None:
    text = send(operator, "/accounts/acme/credit", {"units": "many", "reference": "order 1"})
    assert "Nothing was changed: the number of units is a whole number, such as 1000." in text
    assert running.admin.requests("AddCredit") == []


def test_what_the_ledger_refuses_is_told_escaped(operator: httpx.Client, running: RunningPages) -> None:
    running.admin.refuse("AddAccount", grpc.StatusCode.ALREADY_EXISTS, 'there is "<b>acme</b>" already.')
    text = send(operator, "/accounts", {"name": "acme"})
    assert "Nothing was changed: there is &#34;&lt;b&gt;acme&lt;/b&gt;&#34; already." in text
