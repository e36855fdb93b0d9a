"""The endpoint's pages in a browser: what they show, to whom, and that content stays text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from blindrelay.client.endpoint.content import KEPT_BYTES
from blindrelay.trust import format_identity

from ..conftest import TAIL, Received, Responder, ScriptedBridge, head
from .conftest import Endpoint, running

if TYPE_CHECKING:
    from playwright.sync_api import Page

SAID = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"> käse"
ANSWERED = '</pre><h1 id="injected">Response</h1>'


async def answer(_: Received, respond: Responder) -> None:
    await respond.whole(ANSWERED.encode(), 203)


@pytest.fixture
def revealing(bridge: ScriptedBridge, tmp_path: Path) -> Iterator[Endpoint]:
    """With --show-content; one exchange has passed."""
    bridge.answer = answer
    with running(bridge.connection, tmp_path, "--show-content") as endpoint:
        with endpoint.client() as client:
            client.post("/v1/chat/completions?key=secret", json={"said": SAID})
        yield endpoint


def open_contents(page: Page, endpoint: Endpoint, token: str) -> None:
    page.goto(endpoint.url)
    page.get_by_role("link", name="see them").click()
    page.get_by_label("The endpoint's token").fill(token)
    page.get_by_role("button").click()


def test_status_page_in_a_browser(page: Page, bridged: Endpoint, bridge: ScriptedBridge) -> None:
    with bridged.client() as client:
        client.post("/v1/chat/completions", json={"said": SAID})
    page.goto(bridged.url)
    trust = page.get_by_role("definition")
    assert format_identity(bridge.identity.public_key) in trust.nth(0).inner_text()
    newest = page.get_by_role("row").nth(1).get_by_role("cell").all_inner_texts()
    assert newest[4:7] == ["2", "1,000,000", bridge.key.key_id.hex()[:8]]
    assert newest[8] == "whole"
    assert page.get_by_text("Contents are not kept").is_visible()
    page.get_by_role("link", name="Look again").click()
    assert page.title() == "BlindRelay: local endpoint"


def test_error_of_the_provider_is_marked(page: Page, bridged: Endpoint, bridge: ScriptedBridge) -> None:
    async def refuse(_: Received, respond: Responder) -> None:
        await respond.whole(b"{}", status=401)

    bridge.answer = refuse
    with bridged.client() as client:
        assert client.post("/v1/chat/completions", json={}).status_code == 401
    page.goto(bridged.url)
    outcome = page.get_by_role("row").nth(1).get_by_role("cell").nth(8)
    assert outcome.inner_text() == "provider/401"
    assert outcome.locator(".bad").count() == 1


def test_phone_shows_all_columns_and_groups(page: Page, bridged: Endpoint, bridge: ScriptedBridge) -> None:
    bridge.answer = answer
    with bridged.client() as client:
        client.post("/v1/chat/completions", json={"said": SAID})
    page.set_viewport_size({"width": 360, "height": 640})
    page.goto(bridged.url)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for shown in (page.locator("tbody td").last, page.locator(".groups"), page.locator(".scroll")):
        assert shown.evaluate("element => element.scrollWidth - element.clientWidth") <= 0
        box = shown.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 360
    assert "Outcome" in page.locator("tbody td").last.evaluate(
        "element => getComputedStyle(element, '::before').content"
    )


def test_contents_are_shown_as_text_for_the_token(page: Page, revealing: Endpoint) -> None:
    open_contents(page, revealing, revealing.token)
    assert page.title() == "BlindRelay: contents"
    assert page.locator("#injected, img, script").count() == 0
    exchange = page.get_by_role("group")
    summary = exchange.locator("summary")
    assert "POST https://api.openai.com/v1/chat/completions → 203" in summary.inner_text()
    summary.click()
    request, answered = exchange.locator("pre").all_inner_texts()
    assert json.loads(request) == {"said": SAID}
    assert answered == ANSWERED
    assert revealing.token not in page.content() + page.url
    assert "secret" not in page.content()


def test_contents_are_hidden_without_the_token(revealing: Endpoint) -> None:
    url = f"{revealing.url}/content"
    assert "onerror" not in httpx.get(url, trust_env=False).text
    wrong = httpx.post(url, data={"token": "brl_wrong"}, trust_env=False)
    assert (wrong.status_code, "onerror" in wrong.text) == (403, False)
    assert "not the endpoint" in wrong.text
    long = httpx.post(url, content=b"token=" + b"a" * 10_000, trust_env=False)
    assert long.status_code == 403
    form = {"token": revealing.token}
    foreign = httpx.post(url, data=form, headers={"origin": "http://other.example"}, trust_env=False)
    assert (foreign.status_code, foreign.headers["x-blindrelay-error"]) == (403, "endpoint/origin")


def test_contents_are_bounded(bridge: ScriptedBridge, tmp_path: Path) -> None:
    async def long(_: Received, respond: Responder) -> None:
        await respond.send(head=head())
        for _piece in range(4):
            await respond.send(body="é".encode() * 15_001)
        await respond.send(body=b"the end", tail=TAIL)

    bridge.answer = long
    with running(bridge.connection, tmp_path, "--show-content") as endpoint, endpoint.client() as client:
        client.post("/v1/audio/speech", content=b"\xff\x00\xfe")
        text = client.get("/content").text
    assert "<h3>Request: 3 bytes</h3>\n<p>Not text.</p>" in text
    assert "<h3>Response: 120,015 bytes, of which this is the beginning</h3>" in text
    assert text.count("é") == KEPT_BYTES // 2
    assert "the end" not in text


def test_content_page_needs_the_option(bridged: Endpoint, bridge: ScriptedBridge) -> None:
    with bridged.client() as client:
        assert client.get("/content").status_code == 404
    assert not bridge.received
