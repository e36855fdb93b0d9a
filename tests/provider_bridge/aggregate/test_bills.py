"""Bills at the aggregated address: each target is agreed on, and the one that answers is billed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from blindrelay.provider_bridge.aggregate.config import DEFAULT_ORIGIN
from blindrelay.provider_bridge.aggregate.model_table import Model, Target
from blindrelay.v1.receipts_pb2 import ROUNDING_EXACT

from ..billing.books import BilledCaller, CheckedBill, billing_at, settling, table_of
from ..scripted_provider import EVENT_STREAM, LAST_CHUNK, chunk, raw, response
from ..sealed_caller import request_head
from .conftest import House

PRICES = """
unit = "10 µUSD"
valid_from = "2020-01-01"
valid_to = "2099-12-31"
[[price]]
provider = "first"
model = "*"
input = 1_000_000
output = 1_000_000
[[price]]
provider = "second"
model = "small*"
input = 2_000_000
output = 3_000_000
"""
USAGE = {"prompt_tokens": 100, "completion_tokens": 10}
BUSY = response(status=b"429 Busy", headers=b"retry-after: 60\r\n")
STREAMED = b'{"model":"m","stream":true,"messages":[]}'


def event(**members: Any) -> bytes:
    return b"data: %b\n\n" % json.dumps(members).encode()


WORDS = event(model="small-1", choices=[{"delta": {"content": "word"}}], usage=None)
LAST = event(model="small-1", choices=[], usage=USAGE)


async def opened(house: House, folder: Path, *models: Model) -> BilledCaller:
    caller = await house.open(*models, billing=billing_at(folder, PRICES))
    async with settling(caller, int(time.time())) as keeper:
        return BilledCaller(caller, table_of(await keeper.until("watermark")))


async def bill(billed: BilledCaller, body: bytes) -> CheckedBill:
    head = request_head(f"{DEFAULT_ORIGIN}/v1/chat/completions", rounding=ROUNDING_EXACT)
    return await billed.bill(head, body)


def two(second: str = "small") -> Model:
    return Model("m", (Target("first", "big"), Target("second", second, priority=1)))


async def test_who_answers_is_billed(house: House, tmp_path: Path) -> None:
    await house.provider("first", BUSY)
    answer = json.dumps({"model": "small-2", "choices": [{}], "usage": USAGE}).encode()
    await house.provider("second", response(answer))
    billed = await opened(house, tmp_path, two())
    made = await bill(billed, b'{"model":"m","messages":[]}')
    assert made.statement is not None
    assert (made.statement.provider, made.statement.model) == ("second", "small-2")
    assert (made.basis, made.receipt.units) == ("METERED", 230)
    assert billed.last.headers["blindrelay-served-model"] == "small-2"


async def test_each_target_is_asked_for_usage_in_its_own_way(house: House, tmp_path: Path) -> None:
    """What was inserted for one target does not reach the next one, which may not know the field."""
    first = await house.provider("first", BUSY)
    second = await house.provider(
        "second", raw(EVENT_STREAM + chunk(WORDS + LAST) + LAST_CHUNK), preset="mistral"
    )
    billed = await opened(house, tmp_path, two())
    made = await bill(billed, STREAMED)
    assert (made.basis, made.receipt.units) == ("METERED", 230)
    assert json.loads(first.received[0].body)["stream_options"] == {"include_usage": True}
    assert second.received[0].body == STREAMED.replace(b'"m"', b'"small"')
    assert billed.last.body == WORDS + LAST, "nobody asked for it, so nothing is removed"


async def test_report_that_the_bridge_asked_for_does_not_pass(house: House, tmp_path: Path) -> None:
    await house.provider("first", BUSY)
    second = await house.provider("second", raw(EVENT_STREAM + chunk(WORDS + LAST) + LAST_CHUNK))
    billed = await opened(house, tmp_path, two())
    made = await bill(billed, STREAMED)
    assert made.receipt.units == 230
    assert second.received[0].body.count(b"stream_options") == 1
    assert billed.last.body == WORDS


async def test_target_without_a_price_is_not_asked(house: House, tmp_path: Path) -> None:
    await house.provider("first")
    await house.provider("second")
    billed = await opened(
        house,
        tmp_path,
        Model("m", (Target("second", "unpriced"), Target("first", "big", priority=1))),
        Model("n", (Target("second", "unpriced"),)),
    )
    await bill(billed, b'{"model":"m","messages":[]}')
    assert billed.last.headers["blindrelay-served-by"] == "first/big"
    none = await bill(billed, b'{"model":"n","messages":[]}')
    assert billed.last.failure == ("NO_PRICE", "NOT_STARTED")
    assert (none.basis, none.receipt.units) == ("NOT_STARTED", 0)
    unknown = await bill(billed, b'{"model":"unknown","messages":[]}')
    assert (billed.last.status, unknown.receipt.units) == (404, 0)
    assert house.counts == {"first": 1}
