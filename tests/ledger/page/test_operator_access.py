"""Who gets into the operator's pages, and what a browser may do with them."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from blindrelay.ledger.page import LINK_SECONDS, PageConfig, PageListener, Pages
from blindrelay.ledger.page.sign_in import SESSION_SECONDS
from blindrelay.serving import Address, StartError
from tests.certificates import Certificates
from tests.patience import PATIENCE

from .conftest import LOOPBACK, RunningPages, running_pages, send
from .samples import PATHS

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
        url = running.pages.url
        with httpx.Client(verify=trusts, trust_env=False, base_url=url, timeout=PATIENCE) as client:
            code = running.pages.new_link().rpartition("=")[2]
            answer = client.post("/sign-in", data={"code": code})
    assert "; Secure" in answer.headers["set-cookie"]
