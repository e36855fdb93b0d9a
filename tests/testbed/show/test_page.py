"""The live view, clicked through in a browser: what each switch does, and what each party then has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from blindrelay.testbed.processes import PartProcess
from blindrelay.testbed.show.tricks import TRICKS

from ...browser import checked_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

QUESTION = "What is the capital of France? Answer in one sentence."
PARIS = "The capital of France is Paris."
NOT_OPENED = "AlteredAnswerError"

ENDS = {
    "flip": NOT_OPENED,
    "cut": "CutAnswerError",
    "drop": NOT_OPENED,
    "repeat": NOT_OPENED,
    "swap": NOT_OPENED,
    "request": "relay/refused",
    "replay": PARIS,
    "keys": "client/key_trust",
}


@pytest.fixture(scope="module")
def view() -> Iterator[str]:
    """The page's address."""
    part = PartProcess(
        "view", "blindrelay.testbed", lambda: ["show", "--provider", "scripted", "--port", "0", "--json"]
    )
    part.start()
    yield part.listening
    part.stop()


@pytest.fixture
def live(page: Page, view: str) -> Page:
    page.goto(view)
    return page


def ask(page: Page, trick: str = "") -> None:
    page.check(f'input[name=trick][value="{trick}"]')
    page.press("#prompt", "Enter")
    page.wait_for_selector("#of-client li:nth-child(3)")
    page.wait_for_selector("button:enabled")


def test_an_honest_relay_has_bytes_and_the_others_words(live: Page) -> None:
    ask(live)
    assert PARIS in live.inner_text("#of-client")
    assert live.inner_text("#state") == "The answer is whole."
    relay = live.inner_text("#of-relay")
    assert "envelope, readable" in relay
    assert "to the bridge, 5,270 bytes" in relay
    assert "Paris" not in relay
    assert "France" not in relay
    bridge = live.inner_text("#of-bridge")
    assert QUESTION in bridge
    assert "user-agent: blindrelay" in bridge
    assert "Paris" in bridge


@pytest.mark.parametrize("trick", TRICKS)
def test_each_switch_ends_as_it_should(live: Page, trick: str) -> None:
    ask(live, trick)
    assert ENDS[trick] in live.inner_text("#of-client")
    if trick in ("replay",):
        assert "the bridge answers: refused" in live.inner_text("#of-relay")
    else:
        assert live.inner_text("#state") == "The client has an error."


def test_the_altered_byte_is_marked(live: Page) -> None:
    ask(live, "flip")
    assert live.locator("#of-relay mark").count() == 1
    assert "altered" in live.inner_text("#of-relay")
    ask(live)
    assert live.locator("mark").count() == 0


def test_nothing_is_asked_without_words(live: Page) -> None:
    live.fill("#prompt", "  ")
    live.press("#prompt", "Enter")
    assert live.inner_text("#state") == "Write something to ask."
    assert live.locator("li").count() == 0


@pytest.mark.parametrize(
    "asked",
    ["{", "[]", "{}", '{"prompt": " "}', '{"prompt": "x", "trick": "magic"}', '{"prompt": "x", "trick": {}}'],
)
def test_what_the_page_would_not_ask_is_refused(view: str, asked: str) -> None:
    assert httpx.post(f"{view}ask", content=asked, trust_env=False).status_code == 400


def test_a_view_that_does_not_answer_is_said_and_can_be_asked_again(browser: Browser, view: str) -> None:
    with browser.new_context() as context:  # not a checked page: its console has the failed request
        page = context.new_page()
        page.goto(view)
        page.route("**/ask", lambda route: route.abort())
        page.press("#prompt", "Enter")
        page.wait_for_function("() => document.getElementById('state').textContent")
        assert page.inner_text("#state") == "The live view does not answer."
        assert page.locator("button").is_enabled()


def test_markup_is_shown_and_not_obeyed(live: Page) -> None:
    live.fill("#prompt", "<img src=x onerror=alert(1)>")
    ask(live)
    assert "<img src=x" in live.inner_text("#of-client")
    assert live.locator("#of-client img, #of-bridge img").count() == 0


def test_every_control_has_a_name_and_the_keyboard_reaches_it(live: Page) -> None:
    assert live.get_by_label("Ask something; then look at what the relay has of it.").count() == 1
    assert live.get_by_role("radio").count() == len(TRICKS) + 1
    assert live.get_by_role("status").count() == 1
    live.focus("#prompt")
    live.keyboard.press("Tab")
    assert live.evaluate("() => document.activeElement.textContent") == "Ask"
    live.keyboard.press("Tab")
    live.keyboard.press("ArrowDown")
    assert live.evaluate("() => document.activeElement.value") == next(iter(TRICKS))


def test_a_narrow_window_scrolls_one_way_only(live: Page) -> None:
    live.set_viewport_size({"width": 380, "height": 700})
    ask(live)
    width = live.evaluate("() => document.documentElement.scrollWidth")
    assert width <= 380


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({"host": "evil.example"}, "", 403),
        ({"origin": "https://evil.example"}, "", 403),
        ({}, "wrong", 404),
    ],
)
def test_other_pages_and_other_paths_get_nothing(
    view: str, headers: dict[str, str], path: str, status: int
) -> None:
    address = view if not path else view.rpartition("/")[0].rpartition("/")[0] + f"/{path}/"
    assert httpx.get(address, headers=headers, trust_env=False).status_code == status


def test_the_picture_for_the_readme(browser: Browser, view: str, tmp_path: Path) -> None:
    """`make live-view-image` keeps it."""
    picture = Path(os.environ.get("BLINDRELAY_LIVE_VIEW_IMAGE", tmp_path / "live-view.png"))
    with checked_page(browser) as page:
        page.set_viewport_size({"width": 1280, "height": 860})
        page.goto(view)
        ask(page, "flip")
        page.screenshot(path=picture)
    assert picture.stat().st_size > 20_000
