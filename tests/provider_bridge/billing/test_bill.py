"""How an exchange is billed: one rule of the spec's annex E.3 after the other, through a real bridge."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from blindrelay.provider_bridge.billing.json_members import MAX_MEMBER
from blindrelay.v1.inner_pb2 import CREDENTIAL_BROUGHT
from blindrelay.v1.receipts_pb2 import BASIS_ESTIMATED, ROUNDING_EXACT

from ..conftest import Serve
from ..scripted_provider import EVENT_STREAM, LAST_CHUNK, ScriptedProvider, chunk, raw, response, stepwise
from ..sealed_caller import SealedCaller, parts, request_head
from .books import PRICES, BilledCaller, billing_at, settling, table_of

CHAT = json.dumps({"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}]}).encode()
STREAMED = json.dumps({"model": "gpt-5", "stream": True, "messages": []}).encode()
USAGE = {"prompt_tokens": 1_000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 400}}
ANSWER = json.dumps({"model": "gpt-5-2026-08-07", "choices": [{}], "usage": USAGE}).encode()
EXACT = request_head(rounding=ROUNDING_EXACT)


def event(**members: Any) -> bytes:
    return b"data: %b\n\n" % json.dumps(members).encode()


WORDS = [event(model="gpt-5", choices=[{"delta": {"content": word}}], usage=None) for word in "abcde"]
LAST = event(model="gpt-5", choices=[], usage=USAGE)
DONE = b"data: [DONE]\n\n"


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


async def test_stream_without_a_report_is_estimated(billed: BilledCaller, provider: ScriptedProvider) -> None:
    provider.script = raw(EVENT_STREAM + chunk(b"".join(WORDS) + DONE) + LAST_CHUNK)
    bill = await billed.bill(EXACT, STREAMED)
    assert (bill.basis, bill.by) == ("ESTIMATED", "BRIDGE")
    assert bill.counts == {"input": len(STREAMED) // 4, "output": len(WORDS)}


@pytest.mark.parametrize(
    "status", [b"429 Too Many Requests", b"500 Internal Server Error", b"400 Bad Request"]
)
async def test_provider_error_costs_nothing(
    billed: BilledCaller, provider: ScriptedProvider, status: bytes
) -> None:
    provider.script = response(b'{"error": {"message": "' + b"x" * 5_000 + b'"}}', status=status)
    bill = await billed.bill(EXACT, CHAT)
    assert (bill.basis, bill.receipt.units, bill.counts) == ("METERED", 0, {})


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


@pytest.mark.parametrize("stream", ["true", "True", 1])
async def test_stream_by_another_word_for_true_is_metered(
    billed: BilledCaller, provider: ScriptedProvider, stream: object
) -> None:
    provider.script = raw(EVENT_STREAM + chunk(b"".join(WORDS) + LAST + DONE) + LAST_CHUNK)
    await billed.bill(EXACT, json.dumps({**json.loads(STREAMED), "stream": stream}).encode())
    (received,) = provider.received
    assert json.loads(received.body)["stream_options"] == {"include_usage": True}


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


async def test_client_that_leaves_pays_for_what_came(
    billed: BilledCaller, provider: ScriptedProvider
) -> None:
    provider.script = stepwise(asyncio.Semaphore(0), EVENT_STREAM + chunk(b"".join(WORDS[:3])), LAST_CHUNK)
    bill = await receipt_after_leaving(billed, STREAMED)
    assert (bill.basis, bill.units) == (BASIS_ESTIMATED, len(STREAMED) // 4 + 3 * 8)


async def test_client_that_leaves_before_the_response_pays_nothing(
    billed: BilledCaller, provider: ScriptedProvider
) -> None:
    asked = asyncio.Event()

    async def silent(connection: Any) -> None:
        asked.set()
        await connection.gone()

    provider.script = silent
    bill = await receipt_after_leaving(billed, STREAMED, after=asked)
    assert (bill.basis, bill.units) == (BASIS_ESTIMATED, 0)


async def test_client_that_leaves_before_the_response_pays_where_the_table_says_so(
    serve: Serve, provider: ScriptedProvider, tmp_path: Path
) -> None:
    asked = asyncio.Event()

    async def silent(connection: Any) -> None:
        asked.set()
        await connection.gone()

    provider.script = silent
    prices = PRICES.replace("valid_to", "charge_unanswered = true\nvalid_to")
    async with serve(billing=billing_at(tmp_path, prices)) as caller:
        async with settling(caller, int(time.time())) as keeper:
            table = table_of(await keeper.until("watermark"))
        bill = await receipt_after_leaving(BilledCaller(caller, table), STREAMED, after=asked)
    assert (bill.basis, bill.units) == (BASIS_ESTIMATED, len(STREAMED) // 4)


async def test_broken_response_costs_what_was_reported(
    billed: BilledCaller, provider: ScriptedProvider
) -> None:
    begun = event(
        type="message_start",
        message={
            "model": "claude-5",
            "usage": {"input_tokens": 500, "output_tokens": 1, "cache_read_input_tokens": 0},
        },
    )
    provider.script = raw(EVENT_STREAM + chunk(begun), cut=True)
    head = request_head("https://api.anthropic.com/v1/messages", rounding=ROUNDING_EXACT)
    bill = await billed.bill(
        head, json.dumps({"model": "claude-5", "max_tokens": 10, "stream": True, "messages": []}).encode()
    )
    assert billed.last.failure == ("PROVIDER_FAILED", "STARTED")
    assert (bill.basis, bill.counts) == ("METERED", {"input": 500, "output": 1})
    provider.script = raw(EVENT_STREAM + chunk(WORDS[0]), cut=True)
    bill = await billed.bill(EXACT, STREAMED)
    assert (bill.basis, bill.counts, bill.receipt.units) == ("METERED", {}, 0), "not the client's fault"


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


async def receipt_after_leaving(billed: BilledCaller, body: bytes, after: asyncio.Event | None = None) -> Any:
    """The receipt that books get of an exchange whose client leaves once something has come."""
    request = await billed.caller.seal(EXACT, body)
    async with settling(billed.caller, int(time.time())) as keeper:
        await keeper.until("watermark")
        call = await billed.caller.send(request)
        if after is not None:
            await asyncio.wait_for(after.wait(), 30)
        else:
            got = b""
            async for part in parts(call, request):
                got += part.body
                if got.count(b"\n\n") == 3:
                    break
        call.cancel()
        (receipt,) = (await keeper.receipts(1)).receipts
    return receipt
