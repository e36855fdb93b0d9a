"""prices.toml, and what a row prices."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from blindrelay.provider_bridge.billing.prices import PriceList, read_prices
from blindrelay.serving import ConfigError
from blindrelay.v1.receipts_pb2 import (
    MEASURE_AUDIO_OUTPUT,
    MEASURE_CACHE_READ,
    MEASURE_CACHE_WRITE,
    MEASURE_CACHE_WRITE_LONG,
    MEASURE_IMAGE_INPUT,
    MEASURE_INPUT,
    MEASURE_OUTPUT,
    MEASURE_TOOL_CALL,
)

from .books import PRICES

IDENTITY = b"i" * 32
HEAD = 'unit = "1 cent"\nvalid_from = "2026-11-01"\nvalid_to = "2026-11-30"\n'
ROW = '[[price]]\nprovider = "openai"\nmodel = "gpt*"\ninput = 5\n'


def priced(folder: Path, text: str) -> PriceList:
    path = folder / "prices.toml"
    path.write_text(text, "utf-8")
    return read_prices(path, IDENTITY, ["openai", "anthropic", "gemini"])


def test_table_is_the_same_for_every_replica(tmp_path: Path) -> None:
    first, second = priced(tmp_path, PRICES), priced(tmp_path, PRICES)
    assert (first.encoded, first.hash) == (second.encoded, second.hash)
    assert first.table.identity == IDENTITY


def test_days_are_whole(tmp_path: Path) -> None:
    prices = priced(tmp_path, HEAD + ROW)
    begins, ends = 1_793_491_200, 1_793_491_200 + 30 * 86_400
    assert [prices.is_valid(when) for when in (begins - 1, begins, ends - 1, ends)] == [
        False,
        True,
        True,
        False,
    ]


def test_first_row_that_applies_counts(tmp_path: Path) -> None:
    rows = "".join(
        f'[[price]]\nprovider = "openai"\nmodel = "{model}"\ninput = {rate}\n'
        for rate, model in enumerate(["gpt-5-mini", "gpt-5*", "*", "gpt-6"])
    )
    prices = priced(tmp_path, HEAD + rows)
    found = {
        model: prices.find("openai", model) for model in ("gpt-5-mini", "gpt-5-mini-x", "gpt-5", "gpt-6", "")
    }
    assert [price and price.index for price in found.values()] == [0, 1, 1, 2, 2]
    assert prices.find("anthropic", "gpt-5") is None


def test_row_for_brought_credentials_comes_first(tmp_path: Path) -> None:
    prices = priced(tmp_path, HEAD + ROW.replace("gpt*", "*") + ROW.replace("gpt*", "@brought"))
    assert [row.model for row in prices.table.rows] == ["@brought", "*"]


def test_what_has_no_rate_counts_as_what_it_is_a_kind_of(tmp_path: Path) -> None:
    rates = "cache_write = 7\noutput = 9\n"
    price = priced(tmp_path, HEAD + ROW + rates).find("openai", "gpt-5")
    assert price is not None
    counts = Counter(
        {
            MEASURE_INPUT: 1,
            MEASURE_CACHE_READ: 10,
            MEASURE_CACHE_WRITE: 100,
            MEASURE_CACHE_WRITE_LONG: 1_000,
            MEASURE_IMAGE_INPUT: 10_000,
            MEASURE_AUDIO_OUTPUT: 3,
            MEASURE_TOOL_CALL: 50,
        }
    )
    counted = price.counted(counts)
    assert {each.measure: each.amount for each in counted} == {
        MEASURE_INPUT: 10_011,
        MEASURE_CACHE_WRITE: 1_100,
        MEASURE_OUTPUT: 3,
    }
    assert price.cost(counted) == 10_011 * 5 + 1_100 * 7 + 3 * 9


def test_names_that_json_allows_and_utf8_does_not(tmp_path: Path) -> None:
    prices = priced(tmp_path, HEAD + ROW.replace("gpt*", "*"))
    for model in ("\ud800", "x" * 10_000, "é" * 1_000):
        price = prices.find("openai", model)
        assert price is not None
        assert len(price.model.encode()) <= 256


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ROW, "valid_from"),
        (HEAD.replace("2026-11-01", "soon") + ROW, "must be a date"),
        (HEAD.replace("2026-11-30", "2026-10-30") + ROW, "valid for no time"),
        (HEAD, "price"),
        (HEAD + ROW.replace("openai", "other"), "no provider of that name"),
        (HEAD + ROW.replace("input = 5", ""), "has no rate"),
        (HEAD + ROW.replace("input = 5", "input = -5"), "must be from 0"),
        (HEAD + ROW.replace("input = 5", "input = 5.5"), "an integer"),
        (HEAD + ROW + "inptu = 3\n", "not a known key"),
        (HEAD + ROW.replace("gpt*", "g*t"), "before the model's end"),
        (HEAD.replace("1 cent", "x" * 98_304) + ROW, "larger than 98,304 bytes"),
    ],
)
def test_wrong_file_is_refused_by_what_is_wrong(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as refused:
        priced(tmp_path, text)
    assert "prices.toml" in str(refused.value)
