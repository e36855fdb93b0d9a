"""A first prices.toml from the prices that providers publish, for a person to read, change and keep.

It uses the package genai-prices, which is not part of the bridge: a running bridge has the table that its
operator wrote, and fetches none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any, Final

from blindrelay.serving import ConfigError

UNIT_DOLLARS: Final = Decimal("0.00001")
"""What a unit is worth by default: 10 µUSD. Then a million units are 10 dollars."""

VALID_DAYS: Final = 365

_NAMES: Final = {"bedrock": "aws", "gemini": "google", "xai": "x-ai"}
"""Names of providers in genai-prices that differ from our presets."""

_RATES: Final = {
    "input": ("input_mtok", 1),
    "cache_read": ("cache_read_mtok", 1),
    "cache_write": ("cache_write_mtok", 1),
    "cache_write_long": ("cache_write_1h_mtok", 1),
    "output": ("output_mtok", 1),
    "audio_input": ("input_audio_mtok", 1),
    "audio_output": ("output_audio_mtok", 1),
    "call": ("requests_kcount", 1_000),
    "tool_call": ("web_searches_kcount", 1_000),
}
"""Our rates by theirs, in dollars, and how often theirs fits into a million."""


def propose(
    providers: Iterable[str], today: date, factor: Decimal = Decimal(1), unit: Decimal = UNIT_DOLLARS
) -> str:
    """The text of a prices.toml for these presets, with the published prices times `factor`.

    `unit` is a unit in dollars. Raises ConfigError if genai-prices is not installed or does not know one.
    """
    known = {each.id: each for each in _published()}
    lines = [
        f'unit = "{(unit * 1_000_000).normalize():f} µUSD"',
        f'valid_from = "{today}"',
        f'valid_to = "{today + timedelta(days=VALID_DAYS)}"',
    ]
    for name in providers:
        published = known.get(_NAMES.get(name, name))
        if published is None:
            raise ConfigError(f'genai-prices has no provider "{name}"')
        for model, rates in _rows(published, factor / unit):
            lines += ["", "[[price]]", f'provider = "{name}"', f'model = "{model}"', *rates]
    return "\n".join(lines) + "\n"


def _published() -> Iterable[Any]:
    try:
        return list(import_module("genai_prices.data").providers)
    except ImportError:
        raise ConfigError("published prices come from a package: pip install genai-prices") from None


def _rows(published: Any, factor: Decimal) -> Iterator[tuple[str, list[str]]]:
    """Exact names first, then the longest beginnings: the first row that matches applies."""
    rows: dict[str, list[str]] = {}
    for model in published.models:
        if rates := list(_rates(model, factor)):
            for name in _names(model.match):
                rows.setdefault(name, rates)
            rows.setdefault(model.id, rates)
    yield from sorted(rows.items(), key=lambda row: (row[0].endswith("*"), -len(row[0]), row[0]))


def _rates(model: Any, factor: Decimal) -> Iterator[str]:
    prices = model.prices if not isinstance(model.prices, list) else model.prices[-1].prices
    for name, (theirs, times) in _RATES.items():
        dollars = getattr(prices, theirs, None)
        if dollars is not None:
            yield f"{name} = {math.ceil(_highest(dollars) * times * factor)}"


def _highest(dollars: Any) -> Decimal:
    """The highest of prices that grow with the size of the input: a bridge's row has one price."""
    tiers = [tier.price for tier in getattr(dollars, "tiers", ())]
    return Decimal(max([getattr(dollars, "base", dollars), *tiers]))


def _names(match: Any) -> Iterator[str]:
    """The names and beginnings in a pattern of genai-prices; what a row cannot say is left out."""
    if hasattr(match, "or_"):
        for each in match.or_:
            yield from _names(each)
    elif hasattr(match, "equals"):
        yield match.equals
    elif hasattr(match, "starts_with"):
        yield f"{match.starts_with}*"
