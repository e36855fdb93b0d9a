"""The operator's pages over HTTP: who gets in, what each form asks the ledger for, and what it tells."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from blindrelay.admin.v1 import admin_pb2
from blindrelay.admin.v1.admin_pb2 import (
    Account,
    AddAccountResponse,
    AddCreditResponse,
    AddVouchersResponse,
    CheckResponse,
    IssueTokenResponse,
    Limits,
    ListAccountsResponse,
    ListAuditResponse,
    ListVouchersResponse,
    Period,
    Quota,
    RevokeTokenResponse,
    Token,
)
from blindrelay.ledger.page import LINK_SECONDS, PageConfig, PageListener, Pages
from blindrelay.ledger.page.sign_in import SESSION_SECONDS
from blindrelay.serving import Address, StartError
from tests.certificates import Certificates

from .conftest import AUTHORIZATION, LOOPBACK, RunningPages, form_token, running_pages
from .samples import ACME, ANSWERS, TOKEN

PATHS = ["/", "/accounts", "/accounts/acme", "/vouchers", "/settlement", "/audit"]
ACTIONS = [
    "/accounts",
    *(f"/accounts/acme/{name}" for name in ("limits", "credit", "state", "expiry", "tokens")),
    "/accounts/acme/tokens/rotate",
    "/accounts/acme/tokens/revoke",
    "/vouchers",
    "/vouchers/revoke",
    "/settlement/check",
    "/sign-out",
]


@pytest.fixture
def operator(running: RunningPages) -> Iterator[httpx.Client]:
    running.admin.answers.update(ANSWERS)
    with running.operator() as client:
        running.admin.asked.clear()
        yield client


def send(client: httpx.Client, path: str, fields: dict[str, str], page: str = "/accounts") -> str:
    """Sends a form as the page does, and returns the text of the page that follows."""
    data = {**fields, "form_token": form_token(client.get(page).text)}
    answer = client.post(path, data=data)
    assert answer.status_code == 200
    return answer.text


def test_nothing_is_shown_or_done_without_a_session(running: RunningPages) -> None:
    with running.client() as client:
        for path in [*PATHS, "/accounts/acme/statement.csv"]:
            answer = client.get(path)
            assert (answer.url.path, answer.status_code) == ("/sign-in", 200)
        for path in ACTIONS:
            assert client.post(path, data={"name": "x"}).url.path == "/sign-in"
    assert running.admin.asked == []


def test_link_signs_in_once_and_for_some_time(running: RunningPages) -> None:
    link = running.pages.new_link()
    old = running.pages.new_link()
    with running.client() as client, running.client() as other:
        shown = client.get(link)
        assert "Sign in</button>" in shown.text
        assert client.get("/").url.path == "/sign-in", "looking at a link does not use it up"
        code = {"code": link.rpartition("=")[2]}
        answer = client.post("/sign-in", data=code)
        assert (answer.url.path, answer.status_code) == ("/", 200)
        again = other.post("/sign-in", data=code)
        assert (again.status_code, "The link was used before" in again.text) == (403, True)
        running.clock[0] += LINK_SECONDS
        assert other.post("/sign-in", data={"code": old.rpartition("=")[2]}).status_code == 403
        running.clock[0] += SESSION_SECONDS
        assert client.get("/").url.path == "/sign-in"


def test_cookie_is_for_this_site_and_no_script(running: RunningPages) -> None:
    with running.client() as client:
        code = running.pages.new_link().rpartition("=")[2]
        answer = client.post("/sign-in", data={"code": code}, follow_redirects=False)
    port = running.pages.url.rpartition(":")[2]
    name, *attributes = answer.headers["set-cookie"].split("; ")
    assert name.startswith(f"blindrelay-page-{port}=")
    assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=strict"]


def test_session_ends_on_the_servers_side(operator: httpx.Client) -> None:
    cookies = dict(operator.cookies)
    assert send(operator, "/sign-out", {}).count("page link") == 1
    operator.cookies.update(cookies)
    assert operator.get("/").url.path == "/sign-in"


@pytest.mark.parametrize("path", ACTIONS)
def test_forms_of_other_pages_are_refused(operator: httpx.Client, running: RunningPages, path: str) -> None:
    """SameSite does not keep out a page on another port of this host."""
    for token in ({}, {"form_token": "A" * 43}):
        answer = operator.post(path, data={"name": "x", "units": "1", **token})
        assert (answer.status_code, "older than your session" in answer.text) == (403, True)
    assert running.admin.asked == []
    assert operator.get("/").status_code == 200, "still signed in"


@pytest.mark.parametrize("body", [b"x" * 20_000, b"a=\xff", b"&".join([b"a=1"] * 70)])
def test_malformed_forms_are_refused(operator: httpx.Client, body: bytes) -> None:
    assert operator.post("/accounts", content=body).status_code in (400, 403)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "[::2]"])
def test_other_host_names_are_refused(operator: httpx.Client, host: str) -> None:
    """A page can point its own name at loopback, and then read what is there."""
    assert operator.get("/", headers={"host": host}).status_code == 400


@pytest.mark.parametrize("path", [*PATHS, "/static/page.css", "/nothing", "/sign-in"])
def test_every_response_lets_nothing_else_load(operator: httpx.Client, path: str) -> None:
    headers = operator.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == ("no-cache" if path.startswith("/static") else "no-store")


def test_calls_show_the_admin_token_and_who_acts(operator: httpx.Client, running: RunningPages) -> None:
    operator.get("/")
    for metadata in running.admin.metadata:
        assert metadata["authorization"] == AUTHORIZATION[0][1]
        assert metadata["blindrelay-actor"] == "page"


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
        "-1,000 units were added as order 1. The balance is 1,284,500.",
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


def test_taken_port_is_told() -> None:
    with running_pages(PageConfig(LOOPBACK)) as running:
        assert running.pages.customers_url is None
        port = int(running.pages.url.rpartition(":")[2])
        with pytest.raises(StartError, match="the port is taken"):
            Pages(PageConfig(PageListener(Address("127.0.0.1", port))), lambda: 0)


def test_with_tls_the_cookie_is_for_https(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "tls")
    with running_pages(PageConfig(replace(LOOPBACK, tls=certificates.server))) as running:
        assert running.pages.url.startswith("https://127.0.0.1:")
        trusts = ssl.create_default_context(cafile=certificates.ca)
        with httpx.Client(verify=trusts, trust_env=False, base_url=running.pages.url) as client:
            code = running.pages.new_link().rpartition("=")[2]
            answer = client.post("/sign-in", data={"code": code})
    assert "; Secure" in answer.headers["set-cookie"]
