"""The pages of a real ledger in a browser: what the operator does there is in the books."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from blindrelay.ledger.books import Books
from blindrelay.serving import issue_token
from blindrelay.testbed.ports import free_port
from blindrelay.testbed.processes import PartProcess
from blindrelay.trust import format_identity
from blindrelay.v1.receipts_pb2 import Basis, Receipt
from tests.ledger.trading import BRIDGE, Exchange, Node, post
from tests.patience import PATIENCE

from ..trading import customer
from .test_browser import OPEN_ALL, press, sign_in

if TYPE_CHECKING:
    from playwright.sync_api import Page

CONFIG = """
listen = "127.0.0.1:0"
tokens = "relay-tokens"
books = "ledger.db"
admin = "127.0.0.1:{admin}"
[page]
listen = "127.0.0.1:0"
[page.customers]
listen = "127.0.0.1:{customers}"
[[bridge]]
address = "127.0.0.1:{bridge}"
identity = "{identity}"
"""


class Ledger:
    """A ledger's process, in whose books somebody has bought and used units."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "ledger.toml"
        self._customers = free_port()
        ports = {"admin": free_port(), "customers": self._customers, "bridge": free_port()}
        self.config.write_text(CONFIG.format(identity=format_identity(BRIDGE), **ports))
        with Books(folder / "ledger.db") as books:
            trade(books)
        issue_token(folder / "relay-tokens", "relay-1", datetime.now(UTC))
        self.process = PartProcess(
            "ledger", "blindrelay.ledger", lambda: ["serve", "--config", str(self.config), "--json"]
        )

    @property
    def page(self) -> str:
        return self.process.announcement["page"]

    @property
    def customers(self) -> str:
        return f"http://127.0.0.1:{self._customers}/"

    def command(self, *arguments: str) -> dict[str, Any]:
        """What a command prints."""
        command = [sys.executable, "-m", "blindrelay.ledger", *arguments]
        printed = subprocess.run(
            [*command, "--config", str(self.config), "--json"],
            capture_output=True,
            check=True,
            timeout=PATIENCE,
        ).stdout
        fields: dict[str, Any] = json.loads(printed)
        return fields


def trade(books: Books) -> None:
    """One exchange is charged, one is not, one runs."""
    now = int(time.time())
    relay = Node(books)
    lease = relay.lease(customer(books, "ann", now=now), now)
    charged, refused, runs = exchanges = [Exchange(issued_at=now // 10 * 10) for _ in range(3)]
    relay.start(lease, *exchanges, now=now)
    signed = Receipt(version=1, units=50_000, basis=Basis.BASIS_METERED).SerializeToString()
    post(books, replace(charged.receipt(50_000), receipt=signed), now=now)
    relay.report(charged.end(), refused.end("overloaded", 0, 0), now=now)
    assert runs.sequence == 3


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path)
    ledger.process.start()
    yield ledger
    ledger.process.stop()


@pytest.fixture
def page(ledger: Ledger, page: Page) -> Page:
    """Closed before the ledger ends: it asks for the newest figures, and complains if nobody answers."""
    return page


def enter(page: Page, ledger: Ledger) -> None:
    sign_in(page, ledger.command("page", "link")["url"])


def secret(page: Page) -> str:
    """What a notice shows only once."""
    return page.locator(".secret").inner_text()


def told(page: Page) -> str:
    return page.get_by_role("status").inner_text()


def fill(page: Page, form: str, fields: dict[str, str]) -> None:
    """Fills in the form that is sent to a path that ends so, and sends it."""
    page.evaluate(OPEN_ALL)
    for name, value in fields.items():
        page.locator(f'form[method="post"][action$="{form}"] [name="{name}"]').fill(value)
    with page.expect_navigation():
        page.locator(f'form[method="post"][action$="{form}"] button').first.click()


def test_operator_sets_up_an_account_and_its_customer_uses_it(page: Page, ledger: Ledger) -> None:
    enter(page, ledger)
    page.goto(f"{ledger.page}/accounts")
    fill(page, "/accounts", {"name": "bob"})
    assert told(page).startswith("The account bob was added.")
    assert page.title() == "bob · BlindRelay"
    fill(page, "/credit", {"units": "250,000", "reference": "order 7"})
    assert "The balance is 250,000." in told(page)
    fill(page, "/limits", {"units": "9,000", "concurrent": "4", "rate": "2.5"})
    fill(page, "/tokens", {"name": "laptop", "addresses": "192.0.2.0/24"})
    token = secret(page)
    page.goto(f"{ledger.page}/vouchers")
    fill(page, "/vouchers", {"units": "1,000", "count": "2"})
    first, second = secret(page).split("\n")
    assert first != second

    shown = ledger.command("account", "show", "bob")
    assert (shown["balance"], shown["limits"]["concurrent"], shown["limits"]["rate"]) == (250_000, 4, 2.5)
    assert shown["limits"]["units"] == {"amount": 9_000, "per": "month"}

    page.goto(ledger.customers)
    page.get_by_label("Access token").fill(token)
    press(page, "Sign in")
    assert "0 of 9,000 this month" in page.inner_text("main")
    fill(page, "/voucher", {"code": first})
    assert told(page) == "1,000 units were added. The balance is 251,000."
    fill(page, "/voucher", {"code": first})
    assert page.get_by_role("alert").inner_text().startswith("Nothing was changed: ")
    fill(page, "/token/rotate", {})
    assert secret(page) != token
    again = httpx.post(f"{ledger.customers}sign-in", data={"token": token}, trust_env=False, timeout=PATIENCE)
    assert again.status_code == 403, "the old token is revoked"

    page.goto(f"{ledger.page}/audit")
    who = dict(
        zip(
            *(page.locator(f'[data-column="{each}"]').all_inner_texts() for each in ("What", "Who")),
            strict=True,
        )
    )
    assert {"customer", "page"} <= set(who.values())
    assert token not in page.content()
    assert ledger.command("check")["balanced"]


def test_statement_is_that_of_the_books(page: Page, ledger: Ledger) -> None:
    enter(page, ledger)
    page.goto(f"{ledger.page}/accounts/ann")
    rows = [
        row.all_inner_texts()
        for row in (each.locator("td") for each in page.locator(".lines tbody tr").all())
    ]
    assert sorted((row[3], row[4], row[5]) for row in rows) == [
        ("charged", "metered", "50,000"),
        ("no receipt yet", "", "0"),
        ("running", "", "0"),
    ]
    lines = ledger.command("statement", "ann")["lines"]
    assert sorted(row[2] for row in rows) == sorted(line["exchange"][:12] for line in lines)
    assert "9,950,000" in page.inner_text(".tiles")
    page.goto(f"{ledger.page}/settlement")
    assert "not connected" in page.inner_text("#live")
    press(page, "Check")
    assert re.match(r"The books balance\. \d+ exchanges are open\.", told(page))
    page.goto(ledger.page)
    assert "50,000" in page.inner_text(".tiles")
    assert page.locator(".chart rect").count() == 30


def test_restart_signs_everybody_out_and_the_books_have_no_secret(page: Page, ledger: Ledger) -> None:
    enter(page, ledger)
    page.goto(f"{ledger.page}/accounts/ann")
    fill(page, "/tokens", {"name": "seen"})
    token = secret(page)
    ledger.process.stop()
    held = b"".join(path.read_bytes() for path in ledger.config.parent.glob("ledger.db*"))
    assert token.encode() not in held
    assert hashlib.sha256(token.encode()).digest() in held
    ledger.process.start()
    page.goto(ledger.page)
    assert page.url.endswith("/sign-in")
