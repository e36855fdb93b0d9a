"""The operator's pages over HTTP: what they show, and what they tell of failed calls."""

from __future__ import annotations

import grpc
import httpx
import pytest

from blindrelay.admin.v1 import admin_pb2
from blindrelay.admin.v1.admin_pb2 import (
    Account,
    ListAccountsResponse,
    ListAuditResponse,
    ListVouchersResponse,
)
from blindrelay.ledger.page.sign_in import SESSION_SECONDS

from .conftest import AUTHORIZATION, RunningPages, form_token
from .samples import PATHS, TOKEN


def test_calls_show_the_admin_token_and_who_acts(operator: httpx.Client, running: RunningPages) -> None:
    operator.get("/")
    assert running.admin.metadata
    for metadata in running.admin.metadata:
        assert metadata["authorization"] == AUTHORIZATION[0][1]
        assert metadata["blindrelay-actor"] == "page"


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        (grpc.StatusCode.NOT_FOUND, 404, "There is nothing to show: no account acme."),
        (grpc.StatusCode.INVALID_ARGUMENT, 400, "There is nothing to show: no account acme."),
        (grpc.StatusCode.UNAVAILABLE, 503, "The ledger does not answer."),
        (grpc.StatusCode.INTERNAL, 503, "The ledger does not answer."),
    ],
)
def test_failed_calls_are_pages(
    operator: httpx.Client, running: RunningPages, code: grpc.StatusCode, status: int, told: str
) -> None:
    running.admin.refuse("GetAccount", code, "no account acme")
    answer = operator.get("/accounts/acme")
    assert (answer.status_code, told in answer.text) == (status, True)


def test_htmx_neither_takes_a_notice_nor_shows_the_sign_in_inside_a_page(
    operator: httpx.Client, running: RunningPages
) -> None:
    partial = {"hx-request": "true"}
    token = form_token(operator.get("/accounts").text)
    data = {"id": "t7Kx", "form_token": token}
    done = operator.post("/accounts/acme/tokens/rotate", data=data, follow_redirects=False)
    assert done.headers["location"] == "/accounts/acme"
    assert TOKEN not in operator.get("/accounts/acme", headers=partial).text
    assert TOKEN in operator.get("/accounts/acme").text
    running.clock[0] += SESSION_SECONDS
    answer = operator.get("/", headers=partial)
    assert (answer.text, answer.headers["hx-redirect"]) == ("", "/sign-in")


def test_long_lists_go_on(operator: httpx.Client, running: RunningPages) -> None:
    accounts = [Account(name=f"a{number:02}", enabled=True) for number in range(51)]
    running.admin.answers["ListAccounts"] = ListAccountsResponse(accounts=accounts)
    text = operator.get("/accounts?find=a&after=Z").text
    assert 'href="/accounts?find=a&amp;after=a49"' in text
    assert "a50" not in text
    (asked,) = running.admin.requests("ListAccounts")
    assert (asked.contains, asked.after, asked.limit) == ("a", "Z", 51)
    vouchers = [admin_pb2.Voucher(id=f"v{number}", units=1) for number in range(101)]
    running.admin.answers["ListVouchers"] = ListVouchersResponse(vouchers=vouchers)
    assert 'href="/vouchers?after=v99"' in operator.get("/vouchers").text
    entries = [admin_pb2.AuditEntry(number=number) for number in range(200, 99, -1)]
    running.admin.answers["ListAudit"] = ListAuditResponse(entries=entries)
    assert 'href="/audit?before=101"' in operator.get("/audit?before=nonsense").text
    operator.get("/audit?before=101")
    assert [asked.before for asked in running.admin.requests("ListAudit")] == [0, 101]


def test_audit_shows_what_changed(operator: httpx.Client) -> None:
    text = operator.get("/audit").text
    assert "limits.rate: none → 2.5" in text
    assert "concurrent" not in text
    assert "value: not JSON" in text


def test_empty_ledger_has_pages(running: RunningPages) -> None:
    with running.operator() as client:
        for path in PATHS:
            assert client.get(path).status_code == 200


def test_files_are_those_of_the_pages_alone(operator: httpx.Client) -> None:
    assert operator.get("/static/htmx-2.0.11.min.js").headers["content-type"].startswith("text/javascript")
    for path in ("/static/../pages.py", "/static/%2e%2e/pages.py", "/static/nothing", "/static/"):
        assert operator.get(path).status_code == 404
