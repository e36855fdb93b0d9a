"""The bill of an exchange: carried by its response, and kept whatever becomes of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from blindrelay.client import Bill, SealedTransport
from blindrelay.client.bill_journal import KeptExchange, read_journal
from blindrelay.v1.inner_pb2 import ErrorCode
from blindrelay.v1.outer_status import OuterStatus
from blindrelay.v1.receipts_pb2 import Receipt
from tests.patience import PATIENCE

from .charging_bridge import ChargingBridge
from .conftest import LIBRARIES, URL, client_of
from .scripted_bridge import stalling, whole


@pytest.fixture
def bridge() -> Iterator[ChargingBridge]:
    with closing(ChargingBridge()) as bridge:
        yield bridge


@pytest.fixture
def sealed(bridge: ChargingBridge) -> Iterator[SealedTransport]:
    with SealedTransport(f"{bridge.connection}&history=off") as transport:
        yield transport


def kept(state: Path) -> list[KeptExchange]:
    return list(read_journal(state / "bills" / "journal").values())


@LIBRARIES
def test_a_response_carries_its_bill(library: Any, sealed: SealedTransport) -> None:
    with client_of(library, sealed) as client, client.stream("POST", URL, content=b"{}") as response:
        bill = response.extensions["blindrelay"]
        assert isinstance(bill, Bill)
        assert (bill.units, bill.receipt, bill.statement) == (None, None, None)
        response.read()
        assert bill.statement is not None
        assert bill.receipt is not None
        assert (bill.units, bill.statement.model, bill.statement.cost) == (20, "gpt-5.5", 20_000_000)
        assert bill.receipt.envelope_hash == bill.envelope_hash


async def test_an_asynchronous_response_carries_its_bill(bridge: ChargingBridge) -> None:
    async with SealedTransport(bridge.connection).async_httpx2_client() as client:
        response = await client.post(URL, content=b"{}")
        assert response.extensions["blindrelay"].units == 20


def test_what_is_kept_proves_itself(bridge: ChargingBridge, client: httpx2.Client, state: Path) -> None:
    bill = client.post(URL, content=b"{}").extensions["blindrelay"]
    (exchange,) = kept(state)
    assert hashlib.sha256(exchange.envelope).digest() == bill.envelope_hash
    (receipt,) = exchange.receipts
    assert Receipt.FromString(receipt.signed.receipt) == bill.receipt
    assert receipt.statement == bill.statement.SerializeToString()
    assert receipt.delegation is not None
    assert len(receipt.coin) == 8
    assert exchange.relay == f"127.0.0.1:{bridge.port}"


def test_the_sealed_head_names_the_price_table(bridge: ChargingBridge, client: httpx2.Client) -> None:
    client.post(URL, content=b"{}")
    assert bridge.received[0].head.price_table_hash == bridge.bills.table_hash


@pytest.mark.parametrize("streamed", [True, False])
def test_an_aborted_exchange_is_kept_without_a_receipt(
    bridge: ChargingBridge, client: httpx2.Client, state: Path, streamed: bool
) -> None:
    bridge.answer = stalling
    if streamed:
        with client.stream("POST", URL, content=b"{}"):
            pass
    else:
        with pytest.raises(httpx2.ReadTimeout):
            client.post(URL, content=b"{}", timeout=httpx2.Timeout(PATIENCE, read=0.2))
    (exchange,) = kept(state)
    assert (exchange.receipts, exchange.refusal) == ([], "")


def test_a_refusal_is_kept(bridge: ChargingBridge, client: httpx2.Client, state: Path) -> None:
    bridge.refuse = OuterStatus.OVERLOADED
    assert client.post(URL, content=b"{}").status_code == 429
    assert [each.refusal for each in kept(state)] == ["overloaded"]


def test_an_error_of_the_bridge_may_have_a_bill(
    bridge: ChargingBridge, client: httpx2.Client, state: Path
) -> None:
    bridge.answer = bridge.fail(ErrorCode.ERROR_CODE_PROVIDER_FAILED)
    with suppress(httpx2.RemoteProtocolError):
        client.post(URL, content=b"{}")
    (exchange,) = kept(state)
    assert len(exchange.receipts) == 1


def test_a_tail_without_a_bill(bridge: ChargingBridge, client: httpx2.Client, state: Path) -> None:
    """Of a call that has no price: the list of models, say."""
    bridge.answer = whole
    assert client.post(URL, content=b"{}").extensions["blindrelay"].receipt is None
    assert [each.receipts for each in kept(state)] == [[]]


def test_nothing_is_kept_of_a_bridge_without_bills(
    bridge: ChargingBridge, client: httpx2.Client, state: Path
) -> None:
    bridge.price_table_hash = b""
    assert client.post(URL, content=b"{}").extensions["blindrelay"].units == 20
    assert kept(state) == []


def test_bills_off_keeps_nothing(bridge: ChargingBridge, state: Path) -> None:
    with bridge.client("&bills=off") as client:
        assert client.post(URL, content=b"{}").extensions["blindrelay"].units == 20
    assert kept(state) == []


def test_a_file_that_cannot_be_written_does_not_stop_exchanges(
    client: httpx2.Client, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state.mkdir(parents=True)
    (state / "bills").write_bytes(b"")
    assert client.post(URL, content=b"{}").status_code == 200
    assert "bills cannot be kept" in caplog.text


def test_new_prices_are_learnt_and_the_request_is_sealed_again(
    bridge: ChargingBridge, client: httpx2.Client, state: Path
) -> None:
    bridge.answer = bridge.refuse_price()
    client.post(URL, content=b"{}")
    old = bridge.bills.table_hash
    bridge.new_prices("1 µUSD")
    assert client.post(URL, content=b"{}").status_code == 200
    assert [each.head.price_table_hash == old for each in bridge.received] == [True, True, False]
    assert [len(each.receipts) for each in kept(state)] == [1, 0, 1]


@pytest.mark.usefixtures("no_restart")
def test_prices_that_are_not_announced_are_an_error(bridge: ChargingBridge, client: httpx2.Client) -> None:
    bridge.answer = bridge.refuse_price()
    client.get("https://api.openai.com/v1/models")
    bridge.bills.table.unit = "1 µUSD"
    response = client.post(URL, content=b"{}")
    assert (response.status_code, len(bridge.received)) == (503, 2)
