"""The customer's page over HTTP: one account, for its own tokens."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest

from blindrelay.admin.v1.admin_pb2 import (
    Account,
    FindAccountRequest,
    FindAccountResponse,
    GetAccountResponse,
    GetStatementResponse,
    RedeemVoucherResponse,
)
from blindrelay.ledger.page.statements import SHOWN_LINES
from blindrelay.v1.accounts_pb2 import LineState

from .conftest import RunningPages, form_token
from .samples import ACME, ANSWERS, STATEMENT, TOKEN, line

DIGEST = hashlib.sha256(TOKEN.encode()).digest()
OTHER = "brt_" + "Z" * 43


@pytest.fixture
def known(running: RunningPages) -> set[bytes]:
    """The digests of tokens that belong to acme."""
    digests = {DIGEST}

    def find(asked: FindAccountRequest) -> Any:
        if asked.token_digest in digests:
            return FindAccountResponse(account="acme", token="t7Kx")
        return grpc.StatusCode.NOT_FOUND, "no account has this token"

    running.admin.answers.update(ANSWERS, FindAccount=find)
    return digests


@pytest.fixture
def customer(running: RunningPages, known: set[bytes]) -> Iterator[httpx.Client]:
    with running.client(running.pages.customers_url) as client:
        answer = client.post("/sign-in", data={"token": f" {TOKEN} "})
        assert (answer.status_code, answer.url.path) == (200, "/")
        running.admin.asked.clear()
        yield client


@pytest.mark.parametrize(
    "token", [OTHER, "", "brt_short", TOKEN[:-1] + "=", "Bearer " + TOKEN, "brt_" + "ü" * 43]
)
@pytest.mark.usefixtures("known")
def test_only_a_token_of_an_account_signs_in(running: RunningPages, token: str) -> None:
    with running.client(running.pages.customers_url) as client:
        answer = client.post("/sign-in", data={"token": token})
        assert (answer.status_code, "No account has this token." in answer.text) == (403, True)
        assert "set-cookie" not in answer.headers
        assert client.get("/").url.path == "/sign-in"


def test_ledger_that_does_not_answer_is_not_a_wrong_token(running: RunningPages) -> None:
    running.admin.refuse("FindAccount", grpc.StatusCode.UNAVAILABLE, "")
    with running.client(running.pages.customers_url) as client:
        assert client.post("/sign-in", data={"token": TOKEN}).status_code == 503


def test_own_account_is_shown_and_no_other(customer: httpx.Client, running: RunningPages) -> None:
    text = customer.get("/?account=other").text
    for shown in (
        "acme",
        "1,284,500",
        "4,910 of 5,000 today",
        "81,234,567,890 of 1,000,000,000,000 in all",
    ):
        assert shown in text
    assert "signed in here" in text
    assert "old" not in text.partition("Statement")[0].partition("Tokens")[2], "revoked tokens are not shown"
    assert {asked.account for asked in running.admin.requests("GetAccount")} == {"acme"}
    assert {asked.account for asked in running.admin.requests("GetStatement")} == {"acme"}


@pytest.mark.usefixtures("customer")
def test_customers_and_operators_have_different_pages(running: RunningPages) -> None:
    with running.client(running.pages.customers_url) as client:
        client.post("/sign-in", data={"token": TOKEN})
        for path in ("/accounts", "/accounts/acme", "/audit", "/vouchers"):
            assert client.get(path).status_code == 404
        cookies = dict(client.cookies)
    with running.client() as client:
        client.cookies.update({name.replace("customer", "page"): value for name, value in cookies.items()})
        assert client.get("/").url.path == "/sign-in"
        assert client.post("/sign-in", data={"token": TOKEN}).status_code == 403


def test_replaced_token_is_shown_once_and_stays_signed_in(
    customer: httpx.Client, running: RunningPages, known: set[bytes]
) -> None:
    page = customer.get("/").text
    new = "brt_" + "N" * 43
    running.admin.answers["RotateToken"] = ANSWERS["RotateToken"].__class__(token=new)
    known.add(hashlib.sha256(new.encode()).digest())
    answer = customer.post("/token/rotate", data={"form_token": form_token(page)})
    known.remove(DIGEST)
    assert new in answer.text
    assert [asked.id for asked in running.admin.requests("RotateToken")] == ["t7Kx"]
    again = customer.get("/")
    assert (again.url.path, new in again.text) == ("/", False)


def test_revoked_token_ends_the_session(customer: httpx.Client, known: set[bytes]) -> None:
    token = form_token(customer.get("/").text)
    known.clear()
    assert customer.post("/token/rotate", data={"form_token": token}).url.path == "/sign-in"
    known.add(DIGEST)
    assert customer.get("/").url.path == "/sign-in"


def test_voucher_is_redeemed_for_the_own_account(customer: httpx.Client, running: RunningPages) -> None:
    running.admin.answers["RedeemVoucher"] = RedeemVoucherResponse(account=ACME, units=50_000)
    token = form_token(customer.get("/").text)
    answer = customer.post("/voucher", data={"code": "brv_x", "account": "other", "form_token": token})
    assert "50,000 units were added. The balance is 1,284,500." in answer.text
    (asked,) = running.admin.requests("RedeemVoucher")
    assert (asked.account, asked.code) == ("acme", "brv_x")
    assert running.admin.metadata[-1]["blindrelay-actor"] == "customer"


@pytest.mark.parametrize("path", ["/token/rotate", "/voucher", "/sign-out"])
def test_forms_of_other_pages_are_refused(customer: httpx.Client, running: RunningPages, path: str) -> None:
    assert customer.post(path, data={"code": "x"}).status_code == 403
    assert running.admin.asked == []


STATES = [
    (Account(name="acme", enabled=False, balance=5), "This account is disabled."),
    (Account(name="acme", enabled=True, balance=5, expires_at=1), "This account is expired."),
    (Account(name="acme", enabled=True, balance=0), "No units are left."),
]


@pytest.mark.parametrize(("account", "told"), STATES)
def test_why_nothing_is_served(
    customer: httpx.Client, running: RunningPages, account: Account, told: str
) -> None:
    running.admin.answers["GetAccount"] = GetAccountResponse(account=account)
    assert told in customer.get("/").text


def test_statement_is_of_the_month_that_is_asked_for(customer: httpx.Client, running: RunningPages) -> None:
    assert "<option selected>2026-11</option>" in customer.get("/").text
    assert "<option selected>2025-01</option>" in customer.get("/?month=2025-01").text
    months = [asked.month for asked in running.admin.requests("GetStatement")]
    assert months == ["2026-11", "2025-01"]
    for wrong in ("2026-13", "2026-1", "x", "2026-11-01"):
        assert customer.get(f"/?month={wrong}").status_code == 400
        assert customer.get(f"/statement.csv?month={wrong}").status_code == 400


def test_long_statement_shows_its_newest_lines(customer: httpx.Client, running: RunningPages) -> None:
    lines = [line(number % 200, LineState.LINE_STATE_VOIDED) for number in range(SHOWN_LINES + 1)]
    pages = [GetStatementResponse(charged=7, lines=lines[:150]), GetStatementResponse(lines=lines[150:])]
    running.admin.answers["GetStatement"] = pages
    text = customer.get("/").text
    assert text.count('<td data-column="Exchange">') == SHOWN_LINES
    assert "The newest 200 lines." in text
    assert "7 units were charged in 2026-11." in text
    assert running.admin.requests("GetStatement")[-1].newest == SHOWN_LINES + 1


def test_csv_has_all_lines_and_no_formula(customer: httpx.Client, running: RunningPages) -> None:
    running.admin.answers["GetStatement"] = [STATEMENT, STATEMENT]
    answer = customer.get("/statement.csv?month=2026-11")
    assert answer.headers["content-disposition"] == 'attachment; filename="acme-2026-11.csv"'
    assert running.admin.requests("GetStatement")[-1].newest == 0
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 2 * (len(STATEMENT.lines) + len(STATEMENT.credits))
    assert [row["reference"] for row in rows[:2]] == ["order 2026-118", "'=returned"]
    assert [row["units"] for row in rows[:2]] == ["1000000", "-500"]
    assert [(row["kind"], row["basis"], row["units"]) for row in rows[2:8]] == [
        ("running", "", "0"),
        ("charged", "metered", "2000"),
        ("charged", "not started", "0"),
        ("charged", "estimated", "100000"),
        ("not charged", "", "0"),
        ("no receipt yet", "", "0"),
    ]
    assert rows[2]["exchange"] == STATEMENT.lines[0].envelope_hash.hex()


def test_csv_of_no_account_is_an_error(customer: httpx.Client, running: RunningPages) -> None:
    running.admin.refuse("GetStatement", grpc.StatusCode.UNAVAILABLE, "")
    assert customer.get("/statement.csv").status_code == 503
