"""How an exchange is billed: one rule of the spec's annex E.3 after the other, through a real bridge."""

from __future__ import annotations

import json
from typing import Any

import pytest

from blindrelay.v1.inner_pb2 import CREDENTIAL_BROUGHT
from blindrelay.v1.receipts_pb2 import ROUNDING_EXACT

from ..scripted_provider import EVENT_STREAM, LAST_CHUNK, ScriptedProvider, chunk, raw, response
from ..sealed_caller import SealedCaller, request_head
from .books import BilledCaller
from .samples import ANSWER, CHAT, DONE, EXACT, LAST, STREAMED, WORDS
from .test_amazon_stream import USED, frame, words


async def test_whole_response_is_metered(billed: BilledCaller, provider: ScriptedProvider) -> None:
    provider.script = response(ANSWER)
    bill = await billed.bill(EXACT, CHAT)
    assert (bill.basis, bill.by) == ("METERED", "PROVIDER")
    assert bill.counts == {"input": 600, "cache_read": 400, "output": 100}
    assert bill.receipt.units == 600 + 40 + 800
    assert bill.statement is not None
    assert bill.statement.model == "gpt-5-2026-08-07", "as the provider named it"
    assert billed.last.body == ANSWER


async def test_units_are_rounded_on_the_ladder_by_default(
    billed: BilledCaller, provider: ScriptedProvider
) -> None:
    provider.script = response(ANSWER)
    units = {(await billed.bill(request_head(), CHAT)).receipt.units for _ in range(20)}
    assert units <= {1_000, 1_500}, "the neighbours of 1,440"


async def test_stream_is_metered_and_the_report_that_nobody_asked_for_does_not_pass(
    billed: BilledCaller, provider: ScriptedProvider
) -> None:
    provider.script = raw(
        EVENT_STREAM + chunk(b"".join(WORDS) + LAST[:20]) + chunk(LAST[20:] + DONE) + LAST_CHUNK
    )
    bill = await billed.bill(EXACT, STREAMED)
    assert (bill.basis, bill.receipt.units) == ("METERED", 1_440)
    assert billed.last.body == b"".join(WORDS) + DONE
    assert billed.last.end is not None
    assert billed.last.end.usage_removed  # type: ignore[union-attr]
    (received,) = provider.received
    assert json.loads(received.body)["stream_options"] == {"include_usage": True}


async def test_report_that_the_client_asked_for_passes(
    billed: BilledCaller, provider: ScriptedProvider
) -> None:
    provider.script = raw(EVENT_STREAM + chunk(b"".join(WORDS) + LAST + DONE) + LAST_CHUNK)
    asked = json.dumps({**json.loads(STREAMED), "stream_options": {"include_usage": True}}).encode()
    bill = await billed.bill(EXACT, asked)
    assert bill.receipt.units == 1_440
    assert billed.last.body == b"".join(WORDS) + LAST + DONE
    assert provider.received[0].body == asked


async def test_amazons_stream_is_metered(billed: BilledCaller, provider: ScriptedProvider) -> None:
    stream = b"".join(words(50)) + frame(json.dumps(USED).encode())
    provider.script = response(stream, headers=b"content-type: application/vnd.amazon.eventstream\r\n")
    bill = await billed.bill(EXACT, CHAT)
    assert (bill.basis, bill.counts) == ("METERED", {"input": 10, "output": 50})
    assert billed.last.body == stream


async def test_stream_without_a_report_is_estimated(billed: BilledCaller, provider: ScriptedProvider) -> None:
    provider.script = raw(EVENT_STREAM + chunk(b"".join(WORDS) + DONE) + LAST_CHUNK)
    bill = await billed.bill(EXACT, STREAMED)
    assert (bill.basis, bill.by) == ("ESTIMATED", "BRIDGE")
    assert bill.counts == {"input": len(STREAMED) // 4, "output": len(WORDS)}


async def test_refused_request_is_not_started(billed: BilledCaller, provider: ScriptedProvider) -> None:
    body = json.dumps({"model": "gpt-5", "store": True, "messages": []}).encode()
    bill = await billed.bill(EXACT, body)
    assert billed.last.failure == ("STORED_OBJECT", "NOT_STARTED")
    assert (bill.basis, bill.receipt.units, bill.statement) == ("NOT_STARTED", 0, None)
    assert not provider.received


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"model": "o9-unheard-of", "messages": []}, "NO_PRICE"),
        ({"messages": []}, "NO_PRICE"),
        ({"model": "gpt-5", "max_tokens": 200_000, "n": 1_000, "messages": []}, "MAX_UNITS"),
    ],
)
async def test_what_has_no_price_or_could_cost_too_much_is_refused(
    billed: BilledCaller, provider: ScriptedProvider, body: dict[str, Any], code: str
) -> None:
    bill = await billed.bill(EXACT, json.dumps(body).encode())
    assert billed.last.failure == (code, "NOT_STARTED")
    assert (bill.basis, bill.receipt.units) == ("NOT_STARTED", 0)
    assert not provider.received


@pytest.mark.parametrize("stream", ["true", "True", 1])
async def test_stream_by_another_word_for_true_is_metered(
    billed: BilledCaller, provider: ScriptedProvider, stream: object
) -> None:
    provider.script = raw(EVENT_STREAM + chunk(b"".join(WORDS) + LAST + DONE) + LAST_CHUNK)
    await billed.bill(EXACT, json.dumps({**json.loads(STREAMED), "stream": stream}).encode())
    (received,) = provider.received
    assert json.loads(received.body)["stream_options"] == {"include_usage": True}


async def test_call_that_runs_no_model_is_free(billed: BilledCaller, provider: ScriptedProvider) -> None:
    bill = await billed.bill(request_head("https://api.openai.com/v1/models", "GET"), b"")
    assert (bill.basis, bill.receipt.units, bill.statement) == ("METERED", 0, None)
    assert len(provider.received) == 1


async def test_brought_credential_costs_the_call(billed: BilledCaller, provider: ScriptedProvider) -> None:
    provider.script = response(ANSWER)
    headers = {b"authorization": b"Bearer sk-own", b"content-type": b"application/json"}
    bill = await billed.bill(request_head(credential=CREDENTIAL_BROUGHT, headers=headers), CHAT)
    assert (bill.basis, bill.counts, bill.receipt.units) == ("METERED", {"call": 1}, 2)
    assert provider.received[0].body == CHAT, "it is not asked for usage"


async def test_text_read_aloud_is_counted_by_its_characters(
    billed: BilledCaller, provider: ScriptedProvider
) -> None:
    provider.script = response(b"\x00\xff{" * 50_000, headers=b"content-type: audio/mpeg\r\n")
    head = request_head("https://api.openai.com/v1/audio/speech", rounding=ROUNDING_EXACT)
    bill = await billed.bill(
        head, json.dumps({"model": "gpt-voice-1", "input": "Grüße!", "voice": "x"}).encode()
    )
    assert (bill.basis, bill.by, bill.counts) == ("METERED", "BRIDGE", {"character": 6})
    assert bill.receipt.units == 6 * 15


@pytest.mark.parametrize("fields", [{"rounding": ROUNDING_EXACT}, {"price_table_hash": bytes(32)}])
async def test_bridge_that_keeps_no_bills_says_so(
    bridge: SealedCaller, provider: ScriptedProvider, fields: dict[str, Any]
) -> None:
    got = await bridge.exchange(request_head(**fields), CHAT)
    assert (got.failure, "keeps no bills" in got.message) == (("UNSUPPORTED", "NOT_STARTED"), True)
    plain = await bridge.exchange(request_head(), STREAMED)
    assert plain.end is not None
    assert not plain.end.HasField("receipt")
    assert provider.received[-1].body == STREAMED, "it is asked for nothing"
