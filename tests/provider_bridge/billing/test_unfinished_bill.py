"""What an exchange costs that does not end well: one rule of the spec's annex E.3 after the other."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from blindrelay.v1.receipts_pb2 import BASIS_ESTIMATED, ROUNDING_EXACT
from tests.patience import PATIENCE

from ..conftest import Serve
from ..scripted_provider import EVENT_STREAM, LAST_CHUNK, ScriptedProvider, chunk, raw, response, stepwise
from ..sealed_caller import parts, request_head
from ..test_time import late
from .books import PRICES, BilledCaller, billing_at, settling, table_of
from .samples import CHAT, EXACT, STREAMED, WORDS, event


@pytest.mark.parametrize(
    "status", [b"429 Too Many Requests", b"500 Internal Server Error", b"400 Bad Request"]
)
async def test_provider_error_costs_nothing(
    billed: BilledCaller, provider: ScriptedProvider, status: bytes
) -> None:
    provider.script = response(b'{"error": {"message": "' + b"x" * 5_000 + b'"}}', status=status)
    bill = await billed.bill(EXACT, CHAT)
    assert (bill.basis, bill.receipt.units, bill.counts) == ("METERED", 0, {})


async def test_client_that_leaves_pays_for_what_came(
    billed: BilledCaller, provider: ScriptedProvider
) -> None:
    provider.script = stepwise(asyncio.Semaphore(0), EVENT_STREAM + chunk(b"".join(WORDS[:3])), LAST_CHUNK)
    bill = await receipt_after_leaving(billed, STREAMED)
    assert (bill.basis, bill.units) == (BASIS_ESTIMATED, len(STREAMED) // 4 + 3 * 8)


def silence(provider: ScriptedProvider) -> asyncio.Event:
    """The provider says nothing from now on. The event is set when it is asked."""
    asked = asyncio.Event()

    async def silent(connection: Any) -> None:
        asked.set()
        await connection.gone()

    provider.script = silent
    return asked


async def test_client_that_leaves_before_the_response_pays_nothing(
    billed: BilledCaller, provider: ScriptedProvider
) -> None:
    asked = silence(provider)
    bill = await receipt_after_leaving(billed, STREAMED, after=asked)
    assert (bill.basis, bill.units) == (BASIS_ESTIMATED, 0)


async def test_client_that_leaves_before_the_response_pays_where_the_table_says_so(
    serve: Serve, provider: ScriptedProvider, tmp_path: Path
) -> None:
    asked = silence(provider)
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


ASKED = event(type="message_start", message={"usage": {"input_tokens": 500, "output_tokens": 1}})


@pytest.mark.parametrize(
    ("sent", "basis", "counts"),
    [
        (b"", "ESTIMATED", {}),
        (EVENT_STREAM + chunk(b"".join(WORDS[:3])), "ESTIMATED", {"input": len(STREAMED) // 4, "output": 3}),
        (EVENT_STREAM + chunk(ASKED), "METERED", {"input": 500, "output": 1}),
        (
            EVENT_STREAM + chunk(ASKED + event(type="content_block_delta")),
            "ESTIMATED",
            {"input": 500, "output": 2},
        ),
    ],
    ids=["nothing came", "no report", "a report", "more than the report"],
)
async def test_deadline_costs_what_had_come(
    billed: BilledCaller,
    provider: ScriptedProvider,
    monkeypatch: pytest.MonkeyPatch,
    sent: bytes,
    basis: str,
    counts: dict[str, int],
) -> None:
    provider.script = raw(sent)
    request = await billed.caller.seal(EXACT, STREAMED)
    begun = None if sent else provider.asked()
    bill = await billed.check(await late(billed.caller, request, begun, monkeypatch), request)
    assert billed.last.failure == ("DEADLINE", "STARTED" if sent else "UNKNOWN")
    assert (bill.basis, bill.counts) == (basis, counts)


async def test_exchange_that_arrives_after_its_deadline_costs_nothing(
    billed: BilledCaller, provider: ScriptedProvider
) -> None:
    bill = await billed.bill(EXACT, STREAMED, issued_at=int(time.time()) // 10 * 10 - 100)
    assert billed.last.failure == ("DEADLINE", "NOT_STARTED")
    assert (bill.basis, bill.receipt.units) == ("NOT_STARTED", 0)


async def receipt_after_leaving(billed: BilledCaller, body: bytes, after: asyncio.Event | None = None) -> Any:
    """The receipt that books get of an exchange whose client leaves once something has come."""
    request = await billed.caller.seal(EXACT, body)
    async with settling(billed.caller, int(time.time())) as keeper:
        await keeper.until("watermark")
        call = await billed.caller.send(request)
        if after is not None:
            await asyncio.wait_for(after.wait(), PATIENCE)
        else:
            got = b""
            async for part in parts(call, request):
                got += part.body
                if got.count(b"\n\n") == 3:
                    break
        call.cancel()
        (receipt,) = (await keeper.receipts(1)).receipts
    return receipt
