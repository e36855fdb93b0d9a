"""What a request could cost at most, and what nothing in it may hide."""

from __future__ import annotations

import json
from typing import Any

import pytest

from blindrelay.provider_bridge.billing.json_members import MAX_MEMBER
from blindrelay.v1.receipts_pb2 import ROUNDING_EXACT

from ..scripted_provider import ScriptedProvider, response
from ..sealed_caller import request_head
from .books import BilledCaller
from .samples import ANSWER, EXACT

UNLIMITED: list[dict[str, Any]] = [
    {},
    {"n": 1},
    {"max_tokens": 0},
    {"max_tokens": -1},
    {"max_tokens": "5"},
    {"max_tokens": 5.0},
    {"max_tokens": 5, "max_completion_tokens": "900"},
    {"max_tokens": 5, "n": "128"},
]


@pytest.mark.parametrize("fields", UNLIMITED)
async def test_output_without_a_limit_is_for_those_who_allow_what_it_may_cost(
    billed: BilledCaller, provider: ScriptedProvider, fields: dict[str, Any]
) -> None:
    provider.script = response(ANSWER)
    body = json.dumps({"model": "gpt-5", "messages": [], **fields}).encode()
    bill = await billed.bill(EXACT, body, max_units=500_000)
    assert billed.last.failure == ("MAX_UNITS", "NOT_STARTED")
    assert (bill.receipt.units, provider.received) == (0, [])
    assert (await billed.bill(EXACT, body)).receipt.units == 1_440, "the default is enough for everybody"


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "gpt-5", "max_tok\\u0065ns": 200000, "max_completion_tokens": 1, "messages": []}',
        b'{"model": "gpt-5", "max_tokens": 1, "\\u006e": 200000, "messages": []}',
        b'{"model": "gpt-5", "max_tokens": 100, "prompt": %b}' % json.dumps(["a"] * 2_000).encode(),
        b'{"model": "gpt-5", "max_tokens": 100, "prompt": %b}' % json.dumps([[1], [2]] * 1_000).encode(),
        b'{"model": "gpt-5", "max_tokens": 100, "prompt": "a", "best_of": 2000}',
        b'{"model": "gpt-5", "max_tokens": 100, "prompt": [%b"a"]}' % (b" " * MAX_MEMBER),
    ],
)
async def test_nothing_hides_how_much_a_request_allows(
    billed: BilledCaller, provider: ScriptedProvider, body: bytes
) -> None:
    url = "https://api.openai.com/v1/" + ("completions" if b"prompt" in body else "chat/completions")
    await billed.bill(request_head(url), body, max_units=500_000)
    assert billed.last.failure == ("MAX_UNITS", "NOT_STARTED")
    assert not provider.received


@pytest.mark.parametrize(
    "member", ['"model":PAD"gpt-5"', 'PAD"stream":true', '"stream"PAD:true', '"max_tokens":1PAD', '"n":PAD9']
)
async def test_padded_field_is_refused(billed: BilledCaller, provider: ScriptedProvider, member: str) -> None:
    body = "{" + member.replace("PAD", " " * MAX_MEMBER) + ',"messages":[]}'
    await billed.bill(EXACT, body.encode())
    assert billed.last.failure == ("NOT_ALLOWED", "NOT_STARTED")
    assert not provider.received


GEMINI = "https://generativelanguage.googleapis.com/v1beta/models/gemini-3:streamGenerateContent"


@pytest.mark.parametrize(
    "query", ["fields=candidates", "$fields=x", "alt=sse&f%69elds=x", "alt=proto", "$alt=media"]
)
async def test_response_without_its_report_is_not_asked_for(
    billed: BilledCaller, provider: ScriptedProvider, query: str
) -> None:
    """Most of what it costs may be in no byte of it: thoughts are not shown."""
    await billed.bill(request_head(f"{GEMINI}?{query}"), b'{"contents": []}')
    assert billed.last.failure == ("NOT_ALLOWED", "NOT_STARTED")
    assert "in the URL" in billed.last.message
    assert not provider.received


@pytest.mark.parametrize("query", ["", "?alt=sse", "?alt=json"])
async def test_response_with_its_report_is_asked_for(
    billed: BilledCaller, provider: ScriptedProvider, query: str
) -> None:
    provider.script = response(b'{"usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 10}}')
    bill = await billed.bill(request_head(f"{GEMINI}{query}", rounding=ROUNDING_EXACT), b'{"contents": []}')
    assert (bill.basis, bill.counts) == ("METERED", {"input": 8, "output": 10})


IMAGES = "https://api.openai.com/v1/images/generations"


def image_request(**fields: Any) -> bytes:
    return json.dumps({"model": "pixels-1", "prompt": "a cat", **fields}).encode()


@pytest.mark.parametrize(("fields", "answers"), [({}, 1), ({"n": 10}, 10), ({"n": None}, 1)])
async def test_each_image_of_a_request_is_counted(
    billed: BilledCaller, provider: ScriptedProvider, fields: dict[str, Any], answers: int
) -> None:
    provider.script = response(b'{"data": []}')
    bill = await billed.bill(request_head(IMAGES, rounding=ROUNDING_EXACT), image_request(**fields))
    assert (bill.basis, bill.counts, bill.receipt.units) == ("METERED", {"call": answers}, 40 * answers)


@pytest.mark.parametrize("copies", ["10", 10.0, -1, [10], 2_000])
async def test_images_that_nobody_can_count_or_pay_are_refused(
    billed: BilledCaller, provider: ScriptedProvider, copies: object
) -> None:
    await billed.bill(request_head(IMAGES), image_request(n=copies), max_units=20_000)
    assert billed.last.failure == ("MAX_UNITS", "NOT_STARTED")
    assert not provider.received


@pytest.mark.parametrize(
    "written", [b'"' + b"\\u00e4" * 4_000 + b'"', b" " * MAX_MEMBER + b'"hello"'], ids=["escaped", "padded"]
)
async def test_text_to_read_aloud_that_nobody_can_count_is_refused(
    billed: BilledCaller, provider: ScriptedProvider, written: bytes
) -> None:
    """It would be read for nothing."""
    body = b'{"model": "gpt-voice-1", "voice": "x", "input": ' + written + b"}"
    await billed.bill(request_head("https://api.openai.com/v1/audio/speech"), body)
    assert billed.last.failure == ("MAX_UNITS", "NOT_STARTED")
    assert not provider.received


def form(*fields: tuple[str, str]) -> tuple[Any, bytes]:
    """The head and body of a request for edited images, with these fields."""
    body = b"".join(
        b'--x\r\ncontent-disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (name.encode(), value.encode())
        for name, value in (*fields, ("prompt", "a cat"))
    )
    headers = {b"content-type": b"multipart/form-data; boundary=x"}
    head = request_head("https://api.openai.com/v1/images/edits", headers=headers, rounding=ROUNDING_EXACT)
    return head, body + b"--x--\r\n"


async def test_each_image_of_a_form_is_counted(billed: BilledCaller, provider: ScriptedProvider) -> None:
    provider.script = response(b'{"data": []}')
    bill = await billed.bill(*form(("model", "pixels-1"), ("n", "10")))
    assert (bill.counts, bill.receipt.units) == ({"call": 10}, 400)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ([("model", "pixels-1"), ("model", "pixels-dear")], "NOT_ALLOWED"),
        ([("model", "pixels-1"), ("n", "1"), ("n", "10")], "NOT_ALLOWED"),
        ([("model", "pixels-1"), ("n", "ten")], "MAX_UNITS"),
        ([("model", "pixels-1"), ("n", " " * 2_000 + "10")], "MAX_UNITS"),
    ],
)
async def test_nothing_in_a_form_hides_what_it_costs(
    billed: BilledCaller, provider: ScriptedProvider, fields: list[tuple[str, str]], code: str
) -> None:
    await billed.bill(*form(*fields))
    assert billed.last.failure == (code, "NOT_STARTED")
    assert not provider.received


async def test_limited_output_needs_no_more_than_it_may_cost(
    billed: BilledCaller, provider: ScriptedProvider
) -> None:
    provider.script = response(ANSWER)
    body = json.dumps({"model": "gpt-5", "max_completion_tokens": 100, "messages": []}).encode()
    assert (await billed.bill(EXACT, body, max_units=2_000)).receipt.units == 1_440


async def test_what_is_only_read_needs_no_limit(billed: BilledCaller, provider: ScriptedProvider) -> None:
    provider.script = response(ANSWER)
    body = json.dumps({"model": "gpt-5", "input": "x" * 100}).encode()
    head = request_head("https://api.openai.com/v1/embeddings", rounding=ROUNDING_EXACT)
    bill = await billed.bill(head, body, max_units=2_000)
    assert (bill.basis, bill.receipt.units) == ("METERED", 1_440)
