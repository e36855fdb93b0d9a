"""Tunnels and shaped responses are billed by the same rules."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from blindrelay.provider_bridge.policy import shaping
from blindrelay.sealing import BALANCED
from blindrelay.v1.inner_pb2 import SHAPING_PROFILE_BALANCED, Shaping
from blindrelay.v1.receipts_pb2 import BASIS_ESTIMATED, BASIS_METERED, ROUNDING_EXACT

from ..conftest import Serve, provider_at
from ..scripted_provider import EVENT_STREAM, LAST_CHUNK, ScriptedProvider, chunk, raw, response
from ..sealed_caller import request_head
from ..sealed_tunnel import SealedTunnel, opened
from ..websocket_provider import WebSocketProvider
from .books import BilledCaller, billing_at, settling, table_of
from .samples import ANSWER, CHAT, DONE, LAST, STREAMED, WORDS

REALTIME = "https://api.openai.com/v1/realtime?model=gpt-5-realtime"
USED = {"type": "response.done", "response": {"usage": {"input_tokens": 100, "output_tokens": 10}}}
DELTA = {"type": "response.output_text.delta", "delta": "word"}


def speaking(*said: dict[str, Any], closes: bool = True) -> Any:
    async def handler(connection: ServerConnection) -> None:
        for message in said:
            await connection.send(json.dumps(message))
        await (connection.close() if closes else connection.wait_closed())

    return handler


@pytest.mark.parametrize(
    ("said", "basis", "counts"),
    [
        ([USED, DELTA, USED], "METERED", {"input": 200, "output": 20}),
        ([USED, DELTA, DELTA], "ESTIMATED", {"input": 100, "output": 12}),
        ([{"type": "session.created"}], "METERED", {}),
    ],
    ids=["two responses", "one that is open", "none"],
)
async def test_tunnel_costs_the_sum_of_its_responses(
    serve: Serve,
    websocket: WebSocketProvider,
    tmp_path: Path,
    said: list[dict[str, Any]],
    basis: str,
    counts: dict[str, int],
) -> None:
    websocket.handler = speaking(*said)
    billing = billing_at(tmp_path, one_provider())
    async with serve(providers=(provider_at(websocket.origin),), billing=billing) as caller:
        billed = await billed_by(caller)
        tunnel = await opened(caller, REALTIME, rounding=ROUNDING_EXACT)
        part = await tunnel.part()
        while part is not None and not part.HasField("tail"):
            part = await tunnel.part()
        assert part is not None
        billed.last.take(part)
        bill = await billed.check(billed.last, tunnel.request)
        await tunnel.end()
    assert (bill.basis, bill.counts) == (basis, counts)


@pytest.mark.parametrize(
    ("said", "basis", "units"),
    [([USED], BASIS_METERED, 180), ([USED, DELTA], BASIS_ESTIMATED, 188)],
    ids=["between responses", "within one"],
)
async def test_client_that_leaves_a_tunnel_pays_for_its_responses(
    serve: Serve,
    websocket: WebSocketProvider,
    tmp_path: Path,
    said: list[dict[str, Any]],
    basis: int,
    units: int,
) -> None:
    websocket.handler = speaking(*said, closes=False)
    billing = billing_at(tmp_path, one_provider())
    async with (
        serve(providers=(provider_at(websocket.origin),), billing=billing) as caller,
        settling(caller, int(time.time())) as keeper,
    ):
        await keeper.until("watermark")
        tunnel = await opened(caller, REALTIME, rounding=ROUNDING_EXACT)
        for message in said:
            assert json.loads(await tunnel.heard()) == message
        tunnel.call.cancel()
        (receipt,) = (await keeper.receipts(1)).receipts
    assert (receipt.basis, receipt.units) == (basis, units)


async def test_client_whose_message_is_refused_pays_for_the_open_response(
    serve: Serve, websocket: WebSocketProvider, tmp_path: Path
) -> None:
    """Otherwise it would end each response with such a message, and have it for nothing."""
    websocket.handler = speaking(USED, DELTA, closes=False)
    billing = billing_at(tmp_path, one_provider())
    async with serve(providers=(provider_at(websocket.origin),), billing=billing) as caller:
        billed = await billed_by(caller)
        tunnel = await opened(caller, REALTIME, rounding=ROUNDING_EXACT)
        for message in (USED, DELTA):
            assert json.loads(await tunnel.heard()) == message
        await tunnel.say("not JSON")
        part = await tunnel.part()
        assert part is not None
        billed.last.take(part)
        bill = await billed.check(billed.last, tunnel.request)
        await tunnel.end()
    assert billed.last.failure == ("NOT_ALLOWED", "STARTED")
    assert (bill.basis, bill.counts) == ("ESTIMATED", {"input": 100, "output": 11})


async def test_tunnel_ends_when_it_has_cost_all_that_it_may(
    serve: Serve, websocket: WebSocketProvider, tmp_path: Path
) -> None:
    """Otherwise a client would have all further responses for nothing."""
    dear = {
        "type": "response.done",
        "response": {"usage": {"input_tokens": 400_000, "output_tokens": 25_000}},
    }
    websocket.handler = speaking(dear, dear, USED, closes=False)
    billing = billing_at(tmp_path, one_provider())
    async with serve(providers=(provider_at(websocket.origin),), billing=billing) as caller:
        billed = await billed_by(caller)
        tunnel = await opened(caller, REALTIME, rounding=ROUNDING_EXACT)
        for _ in range(2):
            assert json.loads(await tunnel.heard()) == dear
        part = await tunnel.part()
        assert part is not None
        billed.last.take(part)
        bill = await billed.check(billed.last, tunnel.request)
        await tunnel.end()
    assert billed.last.failure == ("MAX_UNITS", "STARTED")
    assert (bill.basis, bill.receipt.units) == ("METERED", 1_000_000)


@pytest.mark.parametrize("second", ["gpt-5-cheap", "gpt-5-realtime", "%67pt-5-cheap"])
async def test_tunnel_names_one_model(
    serve: Serve, websocket: WebSocketProvider, tmp_path: Path, second: str
) -> None:
    """A provider may read the one, and the bridge the other."""
    billing = billing_at(tmp_path, one_provider())
    async with serve(providers=(provider_at(websocket.origin),), billing=billing) as caller:
        tunnel = await SealedTunnel.opened(caller, f"{REALTIME}&model={second}")
        refused = await tunnel.response()
        await tunnel.end()
    assert refused.failure == ("NOT_ALLOWED", "NOT_STARTED")
    assert not websocket.paths


async def test_model_in_the_url_prices_tunnels_only(billed: BilledCaller, provider: ScriptedProvider) -> None:
    """Elsewhere providers read the body, and ignore the URL's."""
    provider.script = response(ANSWER)
    head = request_head(
        "https://api.openai.com/v1/chat/completions?model=gpt-voice-1", rounding=ROUNDING_EXACT
    )
    assert (await billed.bill(head, CHAT)).receipt.units == 1_440


async def test_tunnel_without_a_price_is_refused(
    serve: Serve, websocket: WebSocketProvider, tmp_path: Path
) -> None:
    billing = billing_at(tmp_path, one_provider())
    async with serve(providers=(provider_at(websocket.origin),), billing=billing) as caller:
        tunnel = await SealedTunnel.opened(caller, REALTIME.replace("gpt-5-realtime", "unheard-of"))
        refused = await tunnel.response()
        await tunnel.end()
    assert refused.failure == ("NO_PRICE", "NOT_STARTED")
    assert not websocket.paths


@pytest.mark.parametrize("streams", [True, False])
async def test_shaped_response_has_its_bill(
    billed: BilledCaller, provider: ScriptedProvider, streams: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = replace(BALANCED, tick=5, grid=5)
    monkeypatch.setitem(shaping._SHAPES, SHAPING_PROFILE_BALANCED, fast)
    events = raw(EVENT_STREAM + chunk(b"".join(WORDS) + LAST + DONE) + LAST_CHUNK)
    provider.script = events if streams else response(ANSWER)
    head = request_head(rounding=ROUNDING_EXACT, shaping=Shaping(profile=SHAPING_PROFILE_BALANCED))
    bill = await billed.bill(head, STREAMED if streams else CHAT)
    assert (bill.basis, bill.receipt.units) == ("METERED", 1_440)
    assert billed.last.body == (b"".join(WORDS) + DONE if streams else ANSWER)


def one_provider() -> str:
    return (
        'unit = "10 µUSD"\nvalid_from = "2020-01-01"\nvalid_to = "2099-12-31"\n'
        '[[price]]\nprovider = "openai"\nmodel = "gpt-5*"\ninput = 1_000_000\noutput = 8_000_000\n'
    )


async def billed_by(caller: Any) -> BilledCaller:
    async with settling(caller, int(time.time())) as keeper:
        return BilledCaller(caller, table_of(await keeper.until("watermark")))
