"""`blindrelay-bridge prices` and what `doctor` says of prices."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blindrelay.provider_bridge.billing.prices import read_prices
from blindrelay.provider_bridge.billing.proposal import propose
from blindrelay.provider_bridge.cli import main
from blindrelay.provider_bridge.doctor import bridge_findings

from ..replica import configure

HEAD = 'unit = "10 µUSD"\nvalid_from = "2026-01-01"\nvalid_to = "2099-12-31"\n'
ROW = '[[price]]\nprovider = "openai"\nmodel = "gpt*"\ninput = 5\n'
BILLS = '[billing]\nprices = "prices.toml"\noutbox = "outbox.db"\n'


@dataclass
class Clause:
    equals: str


@dataclass
class Beginning:
    starts_with: str


def model(name: str, match: list[Any], **prices: Any) -> Any:
    return SimpleNamespace(id=name, match=SimpleNamespace(or_=match), prices=SimpleNamespace(**prices))


TIERS = SimpleNamespace(base=Decimal("1.25"), tiers=[SimpleNamespace(start=200_000, price=Decimal("2.5"))])
BOTH = [Clause("gemini-3"), Beginning("gemini-3-")]
PUBLISHED = [
    SimpleNamespace(
        id="google",
        models=[
            model(
                "gemini-3",
                [Clause("gemini-3"), Beginning("gemini-3-")],
                input_mtok=TIERS,
                output_mtok=Decimal(10),
            ),
            model("gemini-3-tts", [Clause("gemini-3-tts")], requests_kcount=Decimal("0.5")),
            model("unpriced", [Clause("unpriced")]),
        ],
    )
]


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "genai_prices.data", SimpleNamespace(providers=PUBLISHED))


def test_prices_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = configure(tmp_path, more=BILLS)
    (tmp_path / "prices.toml").write_text(HEAD + ROW, "utf-8")
    assert main(["prices", "check", "--config", str(path)]) == 0
    out = capsys.readouterr().out
    assert "a unit is 10 µUSD; rows: 1; SHA-256 " in out
    assert "valid until 2099-12-31" in out
    (tmp_path / "prices.toml").write_text(HEAD + ROW + "inptu = 3\n", "utf-8")
    assert main(["prices", "check", "--config", str(path)]) == 2
    assert "inptu" in capsys.readouterr().err


def test_bridge_without_bills_has_no_prices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "check", "--config", str(configure(tmp_path))]) == 2
    assert "keeps no bills" in capsys.readouterr().err


SOON = f"{date.today() + timedelta(days=5)}"


@pytest.mark.parametrize(
    ("until", "says"),
    [("2099-12-31", ""), (SOON, f"valid until {SOON}"), ("2026-01-02", "not valid today")],
    ids=["long", "soon", "ended"],
)
def test_doctor_looks_at_the_prices(tmp_path: Path, until: str, says: str) -> None:
    path = configure(tmp_path, more=BILLS)
    (tmp_path / "prices.toml").write_text(HEAD.replace("2099-12-31", until) + ROW, "utf-8")
    (found,) = (each for each in bridge_findings(path) if each.check == "prices")
    assert found.ok is (not says)
    assert says in found.detail


@pytest.mark.usefixtures("published")
def test_proposal_is_a_table_with_exact_names_first(tmp_path: Path) -> None:
    text = propose(["gemini"], date(2026, 11, 29), Decimal("1.1"))
    path = tmp_path / "prices.toml"
    path.write_text(text, "utf-8")
    prices = read_prices(path, bytes(32), ["gemini"])
    assert [row.model for row in prices.table.rows] == ["gemini-3-tts", "gemini-3", "gemini-3-*"]
    rows = tomllib.loads(text)["price"]
    assert rows[0]["call"] == 55_000_000, "units for a million calls, and a tenth more"
    assert (rows[1]["input"], rows[1]["output"]) == (275_000, 1_100_000), "the dearest tier"
    assert prices.table.unit == "10 µUSD"


@pytest.mark.usefixtures("published")
def test_proposal_names_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "propose", "nobody"]) == 2
    assert 'no provider "nobody"' in capsys.readouterr().err
    for number in ("0", "-1", "many", "NaN"):
        assert main(["prices", "propose", "gemini", "--factor", number]) == 2
        assert "must be a number above 0" in capsys.readouterr().err


def test_proposal_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert main(["prices", "propose", "gemini"]) == 2
    assert "pip install genai-prices" in capsys.readouterr().err
