"""The live view, clicked through in a browser: what each switch does, and what each party then has."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import httpx
import pytest

from blindrelay.sealing import BALANCED
from blindrelay.testbed.processes import PartProcess
from blindrelay.testbed.show.exchange import READING
from blindrelay.testbed.show.tricks import TRICKS
from tests.patience import PATIENCE, wait_for

from ...browser import checked_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

QUESTION = "What is the capital of France? Answer in one sentence."
PARIS = "The capital of France is Paris."
NOT_OPENED = "AlteredResponseError"

ENDS = {
    "flip": (NOT_OPENED, "altered"),
    "cut": ("CutResponseError", "ends the response here"),
    "drop": (NOT_OPENED, "kept back"),
    "repeat": (NOT_OPENED, "sent again"),
    "swap": (NOT_OPENED, "sent late"),
    "request": ("relay/refused", "altered"),
    "replay": (PARIS, "the bridge answers\nrefused"),
    "keys": ("client/key_trust", "serves keys of its own"),
}
"""What the client then has, and what is told of the relay."""

WCAG_AA = 4.5
CONTRASTS = (Path(__file__).parent / "contrasts.js").read_text()


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
    open_view(page, view)
    return page


def open_view(page: Page, view: str) -> None:
    page.goto(view)
    page.wait_for_selector("button:enabled")


def ask(page: Page, relay: str = "honest", shape: str = "off") -> None:
    page.check(f'input[name=relay][value="{relay}"]')
    page.check(f'input[name=shape][value="{shape}"]')
    page.evaluate("() => { document.getElementById('state').textContent = ''; }")
    page.press("#prompt", "Enter")
    page.wait_for_function("() => !['', 'Asking…'].includes(document.getElementById('state').textContent)")


def test_honest_relay_shows_bytes_in_order_and_the_others_text(live: Page) -> None:
    ask(live)
    assert PARIS in live.inner_text("#of-client")
    assert live.inner_text("#state").startswith("The response is whole, and what the bridge sent.")
    assert live.locator("mark").count() == 0
    relay = live.inner_text("#of-relay")
    assert all(text in relay for text in ("reads the envelope, 82 bytes", "to the bridge, 5,270 bytes"))
    assert not any(text in relay for text in ("Paris", "France"))
    bridge = live.inner_text("#of-bridge")
    assert all(text in bridge for text in (QUESTION, "user-agent: blindrelay", PARIS))
    heads = live.locator("#of-relay b").all_inner_texts()
    ways = [part.partition(",")[0] for _, _, part in (head.partition(" s ") for head in heads)]
    answered = ["to the client"] * (len(ways) - 3)
    assert ways == ["reads the envelope", "to the bridge", *answered, "all that it writes down"]
    assert len(answered) > 2
    times = [float(head.partition(" s")[0]) for head in heads]
    assert times == sorted(times)
    written = live.inner_text("#of-relay li:last-child pre")
    on_the_minute = [json.loads(line)["event"] for line in written.splitlines() if line.startswith("{")]
    assert written.startswith("nothing of this exchange") or set(on_the_minute) == {"exchanges"}


def told(view: str) -> list[dict[str, Any]]:
    """The events of the last exchange, as a page that is opened later hears them."""
    with httpx.stream("GET", f"{view}events", trust_env=False, timeout=PATIENCE) as stream:
        lines = (line.removeprefix("data: ") for line in stream.iter_lines() if line.startswith("data: "))
        return list(itertools.takewhile(lambda said: said["what"] != "ready", map(json.loads, lines)))


def times(view: str, party: str, what: str) -> list[float]:
    """When it happened in the last exchange: Unix seconds."""
    return [said["at"] for said in told(view) if (said["party"], said["what"]) == (party, what)]


def test_strip_shows_cells_on_a_clock_or_records_as_they_come(live: Page, view: str) -> None:
    heights = {}
    for shape in ("off", "balanced"):
        ask(live, shape=shape)
        bars = live.locator("#strip .down")
        heights[shape] = bars.evaluate_all("bars => bars.map(bar => bar.getAttribute('height'))")
    assert len(set(heights["off"])) > 1
    count = len(heights["balanced"])
    assert len(set(heights["balanced"])) == 1
    assert count == len(times(view, "relay", "down"))
    assert live.inner_text("#strip-about").startswith(f"{count + 1} messages in ")


def test_number_of_cells_follows_from_the_cell_with_the_end(view: str) -> None:
    """It has passed when the client has the whole response. See test_trace.py."""
    asked = {"prompt": "How many cells?", "relay": "honest", "shape": "balanced"}
    assert httpx.post(f"{view}ask", json=asked, trust_env=False, timeout=PATIENCE).status_code == 202

    def over() -> bool:
        events = told(view)
        return [said.get("prompt") for said in events[:1]] == [asked["prompt"]] and events[-1][
            "what"
        ] == "over"

    wait_for(over)
    (whole,) = times(view, "client", "whole")
    cells = times(view, "relay", "down")
    assert len(cells) == BALANCED.padded_count(sum(at <= whole for at in cells))


def test_search_finds_text_only_at_the_relay_that_reads(live: Page) -> None:
    ask(live)
    assert live.inner_text("#found").startswith("5 words of question and response, looked for in all ")
    assert live.inner_text("#found").endswith(": none found")
    ask(live, READING)
    assert live.inner_text("#found").endswith("found Answer, France, Paris, capital, sentence")
    assert QUESTION in live.inner_text("#of-relay")
    assert PARIS in live.inner_text("#of-relay")
    assert live.inner_text("#of-bridge") == "there is none"
    assert live.inner_text("#state").startswith("Lost: the response came, and the relay has read all of it.")
    assert live.get_attribute("#state", "class") == "bad"


@pytest.mark.parametrize("trick", TRICKS)
def test_each_trick_ends_as_expected(live: Page, trick: str) -> None:
    ask(live, trick)
    client, deed = ENDS[trick]
    assert client in live.inner_text("#of-client")
    assert deed in live.inner_text("#of-relay")
    nothing_came = live.inner_text("#of-bridge") == "nothing reached it"
    assert nothing_came is (trick in ("request", "keys"))
    expected = ("The response is whole, ", "good") if trick == "replay" else ("Caught: ", "caught")
    assert live.inner_text("#state").startswith(expected[0])
    assert live.get_attribute("#state", "class") == expected[1]
    assert "found" not in live.inner_text("#found").replace("none found", "")
    if trick == "flip":
        assert live.locator("#of-relay li.altered mark").count() == live.locator("mark").count() == 1


NO_RELAYS = [
    '{"prompt": "x", "relay": "magic"}',
    '{"prompt": "x", "relay": {}}',
    '{"prompt": "x", "relay": "honest", "shape": []}',
]


@pytest.mark.parametrize("asked", ["{", "[]", "{}", '{"prompt": " "}', *NO_RELAYS])
def test_malformed_request_of_the_page_is_rejected(view: str, asked: str) -> None:
    assert httpx.post(f"{view}ask", content=asked, trust_env=False, timeout=PATIENCE).status_code == 400


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({"host": "evil.example"}, "", 403),
        ({"origin": "https://evil.example"}, "", 403),
        ({}, "../wrong/", 404),
    ],
)
def test_other_origins_and_paths_are_rejected(
    view: str, headers: dict[str, str], path: str, status: int
) -> None:
    address = httpx.URL(view).join(path)
    assert httpx.get(address, headers=headers, trust_env=False, timeout=PATIENCE).status_code == status


def test_markup_is_escaped_also_in_a_narrow_window(live: Page) -> None:
    assert live.get_by_label("Ask something, and watch what each of the three has of it.").count() == 1
    live.fill("#prompt", "<img src=x onerror=alert(1)>")
    live.set_viewport_size({"width": 380, "height": 700})
    ask(live)
    assert live.evaluate("() => document.documentElement.scrollWidth") <= 380, "nothing scrolls sideways"
    assert "<img src=x" in live.inner_text("#of-client")
    assert live.locator("#of-client img, #of-bridge img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_and_motion_can_be_reduced(
    browser: Browser, view: str, scheme: Literal["light", "dark"]
) -> None:
    with browser.new_context(color_scheme=scheme, reduced_motion="reduce") as context:
        page = context.new_page()
        open_view(page, view)
        for relay in ("honest", "drop", "flip", READING):
            ask(page, relay)
            weak = {text: ratio for text, ratio in page.evaluate(CONTRASTS) if ratio < WCAG_AA}
            assert weak == {}
            assert page.evaluate("() => document.getAnimations().length") == 0
        assert page.evaluate("() => getComputedStyle(document.querySelector('li')).animationName") == "none"


def test_the_picture_for_the_readme(browser: Browser, view: str, tmp_path: Path) -> None:
    """`make live-view-image` keeps it."""
    picture = Path(os.environ.get("BLINDRELAY_LIVE_VIEW_IMAGE", tmp_path / "live-view.png"))
    with checked_page(browser) as page:
        page.set_viewport_size({"width": 1280, "height": 860})
        page.emulate_media(reduced_motion="reduce")
        open_view(page, view)
        ask(page, "flip")
        page.screenshot(path=picture)
    assert picture.stat().st_size > 20_000
