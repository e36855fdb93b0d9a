"""`blindrelay bill` and `blindrelay bill verify`, against a relay that tells the truth or not."""

from __future__ import annotations

import csv
import io
import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from blindrelay.client.bill_journal import key_name, read_journal
from blindrelay.client.commands.bill.items import Item
from blindrelay.client.commands.bill.report import bill_text
from blindrelay.v1.outer_status import OuterStatus
from blindrelay.v1.receipts_pb2 import Receipt

from ..charging_bridge import ChargingBridge
from ..conftest import URL
from ..scripted_bridge import stalling
from .conftest import Run, refused, succeeded

KEY = key_name("brt_test")


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChargingBridge]:
    with closing(ChargingBridge()) as bridge:
        monkeypatch.setenv("BLINDRELAY_CONNECTION", bridge.connection)
        yield bridge


def ask(bridge: ChargingBridge, *tokens: int) -> None:
    """One exchange for each number of output tokens."""
    with bridge.client("&history=off") as client:
        for bridge.output in tokens:
            client.post(URL, content=b"{}")


def abort(bridge: ChargingBridge) -> None:
    honest, bridge.answer = bridge.answer, stalling
    with bridge.client() as client, client.stream("POST", URL, content=b"{}"):
        pass
    bridge.answer = honest


def read(run: Run, *arguments: object, code: int = 0) -> Any:
    got, out, err = run("bill", *arguments, "--json")
    assert (got, err) == (code, "")
    return json.loads(out)


def test_sums(run: Run, bridge: ChargingBridge) -> None:
    ask(bridge, 10, 1, 0)
    said = read(run)
    assert (said["exchanges"], said["units"], said["exact_units"]) == (3, 22, 22.0)
    (row,) = said["rows"]
    assert (row["model"], row["key"], row["exchanges"], row["units"]) == ("gpt-5.5", KEY, 3, 22)


def test_rounded_units_average_to_the_exact_cost(run: Run, bridge: ChargingBridge) -> None:
    ask(bridge, *[17] * 60)
    said = read(run)
    assert said["exact_units"] == 60 * 34
    assert 60 * 22 < said["units"] < 60 * 48, "each is 20 or 50"
    assert said["units"] % 10 == 0


def test_without_a_configured_relay(
    run: Run, bridge: ChargingBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(bridge, 10)
    monkeypatch.delenv("BLINDRELAY_CONNECTION")
    monkeypatch.setenv("BLINDRELAY_CONFIG", "/nowhere")
    assert read(run)["units"] == 20


def test_nothing_is_kept_yet(run: Run, state: Path) -> None:
    assert "No exchanges are kept." in succeeded(run, "bill")
    assert read(run)["exchanges"] == 0


def test_columns_line_up_under_a_long_name() -> None:
    model = "a-model-with-a-name-that-is-longer-than-most/2026-11-11"
    head, row, _ = bill_text([Item(bytes(32), 0, KEY, 20, 20_000_000, "metered", "p", model)], 0, each=False)
    assert head.index("key") == row.index(KEY)
    assert len(head) == len(row)


def test_each_exchange_is_explained(run: Run, bridge: ChargingBridge) -> None:
    ask(bridge, 10)
    (row,) = read(run, "--each")["rows"]
    assert (row["units"], row["exact_units"], row["counts"]) == (20, 20.0, {"output": 10})
    assert (row["provider"], row["model"], row["basis"]) == ("openai", "gpt-5.5", "metered")
    assert bytes.fromhex(row["exchange"]) == bridge.lines[0].envelope_hash
    assert "gpt-5.5  20 units (20.000000), metered: output=10" in succeeded(run, "bill", "--each")


def test_aborted_and_refused_exchanges_are_named(run: Run, bridge: ChargingBridge) -> None:
    ask(bridge, 10)
    abort(bridge)
    bridge.refuse = OuterStatus.OVERLOADED
    ask(bridge, 10)
    said = read(run)
    assert (said["exchanges"], said["without_receipt"], said["refused"]) == (2, 1, 1)
    out = succeeded(run, "bill")
    assert "1 exchange without a receipt" in out
    assert "1 exchange refused by the relay, not charged" in out


def test_csv(run: Run, bridge: ChargingBridge) -> None:
    ask(bridge, 10, 10)
    (row,) = csv.DictReader(io.StringIO(succeeded(run, "bill", "--csv")))
    assert (row["model"], row["exchanges"], row["units"], row["exact_units"]) == (
        "gpt-5.5",
        "2",
        "40",
        "40.0",
    )
    rows = list(csv.DictReader(io.StringIO(succeeded(run, "bill", "--csv", "--each"))))
    assert [row["counts"] for row in rows] == ["output=10", "output=10"]


def test_month_is_a_filter(run: Run, bridge: ChargingBridge) -> None:
    ask(bridge, 10)
    assert read(run, "--month", "2020-01")["exchanges"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--month", "2026-13"], "not a month such as"),
        (["--json", "--csv"], "exclude each other"),
        (["verify", "--month", "November"], "not a month such as"),
    ],
)
def test_wrong_input(run: Run, arguments: list[str], message: str) -> None:
    assert message in refused(run, "bill", *arguments)


def test_verify_agrees_with_an_honest_relay(run: Run, bridge: ChargingBridge) -> None:
    ask(bridge, 10, 1, 3)
    said = read(run, "verify")
    assert (said["exchanges"], said["differences"]) == (3, [])
    assert said["units"] == said["charged"] == sum(line.units for line in bridge.lines)
    assert succeeded(run, "bill", "verify").endswith("No difference.\n")


def test_verify_prints_the_proof(run: Run, bridge: ChargingBridge) -> None:
    ask(bridge, 10)
    bridge.lines[0].units = 50
    (difference,) = read(run, "verify", code=1)["differences"]
    assert (difference["kind"], difference["exchange"]) == (
        "other_units",
        bridge.lines[0].envelope_hash.hex(),
    )
    proven = Receipt.FromString(b64decode(difference["proof"]["receipts"][0]["receipt"]))
    assert proven.units == 20
    code, out, _ = run("bill", "verify")
    assert code == 1
    assert "DIFFERENCE (other_units)" in out
    assert f"  signature {difference['proof']['receipts'][0]['signature']}" in out


def test_verify_finds_equivocation(run: Run, bridge: ChargingBridge) -> None:
    ask(bridge, 10)
    line = bridge.lines[0]
    line.receipt.CopyFrom(bridge.another_receipt(line, units=50))
    line.units = 50
    (difference,) = read(run, "verify", code=1)["differences"]
    assert difference["kind"] == "two_receipts"
    assert len({each["receipt"] for each in difference["proof"]["receipts"]}) == 2


@pytest.mark.parametrize("serves_any_table", [True, False])
def test_verify_finds_a_switched_price_table(
    run: Run, bridge: ChargingBridge, serves_any_table: bool
) -> None:
    ask(bridge, 10)
    bridge.serves_any_table = serves_any_table
    bridge.new_prices("1 µUSD")
    (difference,) = read(run, "verify", code=1)["differences"]
    assert difference["kind"] == "wrong_statement"


def test_verify_fetches_and_keeps_the_receipt_of_an_aborted_exchange(
    run: Run, bridge: ChargingBridge, state: Path
) -> None:
    ask(bridge, 10)
    bridge.answer = bridge.cut()
    with bridge.client() as client, pytest.raises(httpx2.RemoteProtocolError):
        client.post(URL, content=b"{}")
    said = read(run, "verify")
    assert (said["exchanges"], said["found"], said["units"], said["charged"]) == (2, 1, 40, 40)
    assert [len(each.receipts) for each in read_journal(state / "bills" / "journal").values()] == [1, 1]
    again = read(run, "verify")
    assert (again["found"], again["differences"]) == (0, [])
    assert read(run)["without_receipt"] == 0


def test_verify_asks_for_the_month(run: Run, bridge: ChargingBridge) -> None:
    read(run, "verify", "--month", "2020-01")
    assert bridge.months == ["2020-01"]


def test_verify_without_a_ledger(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(ChargingBridge(keeps_accounts=False)) as bridge:
        monkeypatch.setenv("BLINDRELAY_CONNECTION", bridge.connection)
        assert "keeps no accounts" in refused(run, "bill", "verify", code=3)
