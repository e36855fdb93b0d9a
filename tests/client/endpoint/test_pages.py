"""The endpoint's pages: what they show, to whom, and that content stays text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from blindrelay.client.endpoint.content import KEPT_BYTES
from blindrelay.trust import format_identity
from tests.patience import PATIENCE

from ..scripted_bridge import TAIL, ScriptedBridge, answering, head, responding
from .conftest import Endpoint, running

if TYPE_CHECKING:
    from playwright.sync_api import Page

CANARY = "canary-7fba"
SAID = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"> käse"
ANSWERED = '</pre><h1 id="injected">Response</h1>'


@pytest.fixture
def revealing(bridge: ScriptedBridge, tmp_path: Path) -> Iterator[Endpoint]:
    """With --show-content."""
    with running(bridge.connection, tmp_path, "--show-content") as endpoint:
        yield endpoint


def test_status_page_shows_exchanges_without_content(bridge: ScriptedBridge, tmp_path: Path) -> None:
    bridge.answer = responding(200, CANARY.encode())
    with running(bridge.connection, tmp_path) as endpoint, endpoint.client() as client:
        assert "<table" not in httpx.get(endpoint.url, trust_env=False, timeout=PATIENCE).text
        for _ in range(51):
            assert client.post(f"/openai/{CANARY}", json={"a": CANARY}).text == CANARY
        answer = httpx.get(endpoint.url, trust_env=False, timeout=PATIENCE)
        assert client.get("/content").status_code == 404
    cells = dict(re.findall(r'<td data-column="([^"]*)"[^>]*>(?:<[^>]*>)?([^<]*)', answer.text))
    assert format_identity(bridge.identity.public_key) in answer.text
    assert f"<dd>{endpoint.part.announcement['relay']}</dd>" in answer.text
    assert float(cells["Seconds"]) >= 0
    for direction in ("Bytes up", "Bytes down"):
        assert int(cells[direction].replace(",", "")) > 4_096
    key = bridge.key.key_id.hex()[:8]
    assert (cells["Records"], cells["Units, at most"], cells["Key"]) == ("2", "1,000,000", key)
    assert cells["Outcome"] == "whole"
    assert answer.text.count("<tr>") == 51  # the head, and the last fifty
    for secret in (CANARY, endpoint.token, "<script"):
        assert secret not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert len(bridge.received) == 51


def test_phone_shows_columns_and_marks_errors(page: Page, bridged: Endpoint, bridge: ScriptedBridge) -> None:
    bridge.answer = responding(401, b"{}")
    with bridged.client() as client:
        client.post("/v1/chat/completions", json={"said": SAID})
    page.set_viewport_size({"width": 360, "height": 640})
    page.goto(bridged.url)
    outcome = page.locator("tbody tr").first.locator("td").last
    assert outcome.inner_text() == "provider/401"
    assert outcome.locator(".bad").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for shown in (outcome, page.locator(".groups"), page.locator(".scroll")):
        assert shown.evaluate("element => element.scrollWidth - element.clientWidth") <= 0


def test_contents_are_text_for_the_token(page: Page, revealing: Endpoint, bridge: ScriptedBridge) -> None:
    bridge.answer = responding(203, ANSWERED.encode())
    with revealing.client() as client:
        client.post("/v1/chat/completions?key=secret", json={"said": SAID})
    page.goto(revealing.url)
    page.get_by_role("link", name="see them").click()
    page.get_by_label("The endpoint's token").fill(revealing.token)
    page.get_by_role("button").click()
    assert page.title() == "BlindRelay: contents"
    assert page.locator("#injected, img, script").count() == 0
    exchange = page.get_by_role("group")
    summary = exchange.locator("summary")
    assert "POST https://api.openai.com/v1/chat/completions → 203" in summary.inner_text()
    summary.click()
    request, answered = exchange.locator("pre").all_inner_texts()
    assert (json.loads(request), answered) == ({"said": SAID}, ANSWERED)
    assert revealing.token not in page.content() + page.url
    assert "secret" not in page.content()


def test_contents_are_bounded_and_need_the_token(revealing: Endpoint, bridge: ScriptedBridge) -> None:
    pieces = [{"body": "é".encode() * 15_001}] * 4
    bridge.answer = answering({"head": head()}, *pieces, body=b"the end", tail=TAIL)
    with revealing.client() as client:
        client.post("/v1/audio/speech", content=b"\xff\x00\xfe")
        text = client.get("/content").text
    assert "<h3>Request: 3 bytes</h3>\n<p>Not text.</p>" in text
    assert "<h3>Response: 120,015 bytes, of which this is the beginning</h3>" in text
    assert text.count("é") == KEPT_BYTES // 2
    assert "the end" not in text
    url, form = f"{revealing.url}/content", {"token": revealing.token}
    assert "éé" not in httpx.get(url, trust_env=False, timeout=PATIENCE).text
    for wrong in (b"token=brl_wrong", b"token=" + b"a" * 10_000):
        answer = httpx.post(url, content=wrong, trust_env=False, timeout=PATIENCE)
        assert (answer.status_code, "éé" in answer.text) == (403, False)
    foreign = httpx.post(
        url, data=form, headers={"origin": "http://other.example"}, trust_env=False, timeout=PATIENCE
    )
    assert (foreign.status_code, foreign.headers["x-blindrelay-error"]) == (403, "endpoint/origin")
