"""The pages in a browser: by keyboard, on a phone, in light and dark, and what htmx changes in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from blindrelay.admin.v1.admin_pb2 import (
    Account,
    Bridge,
    GetOverviewResponse,
    GetSettlementResponse,
    ListAccountsRequest,
    ListAccountsResponse,
)

from ...browser import patient_page
from .conftest import RunningPages
from .samples import ANSWERS, OVERVIEW, TOKEN

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HERE = Path(__file__).parent
CHECKS = (HERE / "page_checks.js").read_text()
CONTRASTS = (HERE.parents[1] / "testbed/show/contrasts.js").read_text()
WCAG_AA = 4.5
PHONE = 360

OPERATORS = ["/", "/accounts", "/accounts/acme", "/vouchers", "/settlement", "/audit", "/sign-in", "/nothing"]
OPEN_ALL = "document.querySelectorAll('details').forEach(each => each.open = true)"


def press(page: Page, button: str) -> None:
    """Presses a button, and waits for the page that follows."""
    with page.expect_navigation():
        page.get_by_role("button", name=button).first.click()


def sign_in(page: Page, link: str) -> None:
    """Signs the operator in."""
    page.goto(link)
    press(page, "Sign in")


@pytest.fixture
def shown(running: RunningPages) -> RunningPages:
    """Pages with something on each."""
    running.admin.answers.update(ANSWERS)
    return running


@pytest.fixture
def page(shown: RunningPages, page: Page) -> Page:
    """Closed before the server ends: it asks for the newest figures, and complains if nobody answers."""
    return page


@pytest.fixture
def live(page: Page, shown: RunningPages) -> Page:
    """The operator's first page, after signing in."""
    sign_in(page, shown.pages.new_link())
    assert page.title() == "Overview · BlindRelay"
    return page


def every_page(page: Page, running: RunningPages) -> Iterator[str]:
    """Shows one page after the other, with everything unfolded, and gives its name."""
    sign_in(page, running.pages.new_link())
    for path in OPERATORS:
        page.goto(running.pages.url + path)
        page.evaluate(OPEN_ALL)
        yield path.strip("/").replace("/", "-") or "overview"
    page.goto(running.pages.customers_url or "")
    yield "customer-sign-in"
    page.get_by_label("Access token").fill(TOKEN)
    press(page, "Sign in")
    page.evaluate(OPEN_ALL)
    yield "customer"


@pytest.mark.parametrize("width", [PHONE, 1280])
def test_pages_fit_the_window_and_have_names_for_everything(
    browser: Browser, shown: RunningPages, width: int
) -> None:
    with patient_page(browser, viewport={"width": width, "height": 800}) as page:
        for name in every_page(page, shown):
            assert page.evaluate(CHECKS) == [], name
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(
    browser: Browser, shown: RunningPages, scheme: Literal["light", "dark"], tmp_path: Path
) -> None:
    """With BLINDRELAY_PAGE_IMAGES=FOLDER it leaves a picture of each page there."""
    folder = Path(os.environ.get("BLINDRELAY_PAGE_IMAGES", tmp_path))
    for width in (PHONE, 1280):
        viewport = {"width": width, "height": 800}
        with patient_page(browser, color_scheme=scheme, viewport=viewport) as page:
            for name in every_page(page, shown):
                weak = {text: ratio for text, ratio in page.evaluate(CONTRASTS) if ratio < WCAG_AA}
                assert weak == {}, name
                page.screenshot(path=folder / f"{name}-{scheme}-{width}.png", full_page=True)


def test_the_picture_for_the_guide(live: Page, shown: RunningPages, tmp_path: Path) -> None:
    """`make ledger-image` keeps it."""
    picture = Path(os.environ.get("BLINDRELAY_LEDGER_IMAGE", tmp_path / "ledger.png"))
    bridge = Bridge(address="bridge-a.example:8490", connected=True)
    shown.admin.answers["GetSettlement"] = GetSettlementResponse(bridges=[bridge])
    live.set_viewport_size({"width": 1100, "height": 680})
    live.reload()
    live.screenshot(path=picture)
    assert picture.stat().st_size > 10_000


def test_keyboard_is_enough(live: Page, shown: RunningPages) -> None:
    live.keyboard.press("Tab")
    live.keyboard.press("Enter")
    live.wait_for_url("**/#main")  # the first stop skips the navigation
    live.goto(f"{shown.pages.url}/accounts/acme")
    summary = live.get_by_text("Replace or revoke").first
    summary.focus()
    assert summary.evaluate("each => getComputedStyle(each).outlineStyle") == "solid"
    live.keyboard.press("Enter")
    live.keyboard.press("Tab")
    live.keyboard.press("Enter")
    live.get_by_text(TOKEN).wait_for()
    assert live.get_by_role("status").inner_text().startswith("The token laptop was replaced")
    live.reload()
    assert TOKEN not in live.content()


def test_overview_follows_the_ledger(page: Page, shown: RunningPages) -> None:
    page.clock.install()
    sign_in(page, shown.pages.new_link())
    later = GetOverviewResponse()
    later.CopyFrom(OVERVIEW)
    later.charged_today = 99_999
    shown.admin.answers["GetOverview"] = later
    page.evaluate("window.marked = true")
    with page.expect_response(lambda answer: answer.request.headers.get("hx-request") == "true"):
        page.clock.run_for(15_000)
    page.get_by_text("99,999").wait_for()
    assert page.evaluate("window.marked"), "the page was not loaded again"
    assert page.locator("#live").count() == 1


def test_ended_session_leads_to_the_sign_in(page: Page, shown: RunningPages) -> None:
    page.clock.install()
    sign_in(page, shown.pages.new_link())
    shown.clock[0] += 1_000_000
    page.clock.run_for(15_000)
    page.wait_for_url("**/sign-in")
    assert "page link" in page.inner_text("main")


def test_accounts_are_found_while_one_types(live: Page, shown: RunningPages) -> None:
    def found(asked: ListAccountsRequest) -> Any:
        names = [name for name in ("acme", "bees", "<b>bold</b>") if asked.contains in name]
        return ListAccountsResponse(accounts=[Account(name=name, enabled=True) for name in names])

    shown.admin.answers["ListAccounts"] = found
    live.goto(f"{shown.pages.url}/accounts")
    assert live.locator("tbody tr").count() == 3
    assert live.get_by_role("link", name="<b>bold</b>").count() == 1
    live.get_by_label("Name contains").press_sequentially("bee")
    live.wait_for_url("**/accounts?find=bee")
    live.wait_for_function("document.querySelectorAll('tbody tr').length === 1")
    assert live.get_by_label("Name contains").evaluate("each => each === document.activeElement")


def test_month_is_shown_in_place(live: Page, shown: RunningPages) -> None:
    live.goto(f"{shown.pages.url}/accounts/acme")
    live.evaluate("window.marked = true")
    live.get_by_label("Month").select_option("2026-09")
    live.get_by_text("units were charged in 2026-09").wait_for()
    assert live.evaluate("window.marked")
    assert live.url.endswith("/accounts/acme?month=2026-09")
    with live.expect_download() as download:
        live.get_by_role("link", name="All lines as CSV").click()
    assert download.value.suggested_filename == "acme-2026-09.csv"


def test_pages_work_without_scripts(browser: Browser, shown: RunningPages) -> None:
    with patient_page(browser, java_script_enabled=False) as page:
        sign_in(page, shown.pages.new_link())
        page.get_by_role("link", name="Accounts").click()
        page.get_by_role("link", name="acme").click()
        page.get_by_label("Month").select_option("2026-09")
        press(page, "Show")
        assert "units were charged in 2026-09" in page.content()
        page.get_by_text("Add or take back units").click()
        page.get_by_label("Units", exact=True).last.fill("1,000")
        page.get_by_label("Reference").fill("order 7")
        press(page, "Book")
        assert "1,000 units were added as order 7." in page.get_by_role("status").inner_text()


def test_scripts_of_others_do_not_run(browser: Browser, shown: RunningPages) -> None:
    """The policy is what stands behind the escaping."""
    with patient_page(browser) as page:
        page.goto(shown.pages.new_link())
        with page.expect_console_message(lambda line: "Content Security Policy" in line.text):
            page.evaluate(
                """() => {
                    const script = document.createElement("script");
                    script.textContent = "window.taken = true";
                    document.body.append(script);
                }"""
            )
        assert page.evaluate("window.taken") is None
