"""Units on the ladder: what they come to in the long run, and how much one of them tells."""

from __future__ import annotations

import math
from collections import defaultdict
from fractions import Fraction
from itertools import pairwise
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.v1.envelope import is_unit_limit
from blindrelay.v1.limits import MILLIONTHS
from blindrelay.v1.receipts_pb2 import ROUNDING_EXACT, ROUNDING_LADDER, ROUNDING_UNSPECIFIED, Rounding
from blindrelay.v1.units import COIN_SIZE, ladder_neighbours, rounded_units

MOST = 1 << 63
COINS = 1 << (8 * COIN_SIZE)
COSTS = st.integers(0, 10**18)


def units(cost: int, coin: int, rounding: Rounding.ValueType = ROUNDING_LADDER, most: int = MOST) -> int:
    return rounded_units(cost, rounding, coin.to_bytes(COIN_SIZE, "big"), most)


def chance_of_high(cost: int) -> float:
    low, high = ladder_neighbours(cost)
    return (cost / MILLIONTHS - low) / (high - low)


def costs_around(median: float, spread: float) -> list[int]:
    """Log-normal costs, in millionths, at evenly spaced chances."""
    normal = NormalDist()
    shares = [(number + 0.5) / 20_000 for number in range(20_000)]
    return [round(median * math.exp(spread * normal.inv_cdf(share)) * MILLIONTHS) for share in shares]


def test_ladder_has_six_steps_in_a_decade() -> None:
    ladder, cost = [0], 0
    while ladder[-1] < 1_000:
        cost = ladder_neighbours(cost)[1] * MILLIONTHS
        ladder.append(cost // MILLIONTHS)
    assert ladder == [0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1_000]


@given(COSTS)
def test_cost_lies_between_its_neighbours(cost: int) -> None:
    low, high = ladder_neighbours(cost)
    assert low * MILLIONTHS <= cost < high * MILLIONTHS


@given(st.integers(0, 62), st.sampled_from([1, 2, 5]))
def test_every_limit_is_on_the_ladder(power: int, step: int) -> None:
    limit = step * 10 ** (power % 18)
    assert is_unit_limit(limit)
    assert ladder_neighbours(limit * MILLIONTHS)[0] == limit


@given(COSTS)
def test_the_expected_value_is_the_cost(cost: int) -> None:
    low, high = ladder_neighbours(cost)
    chance = Fraction(cost - low * MILLIONTHS, (high - low) * MILLIONTHS)
    first_low = math.ceil(chance * COINS)
    assert units(cost, max(0, first_low - 1)) == (high if first_low else low)
    if first_low < COINS:
        assert units(cost, first_low) == low
    expected = Fraction(first_low * high + (COINS - first_low) * low, COINS) * MILLIONTHS
    assert abs(expected - cost) <= Fraction(high - low, COINS) * MILLIONTHS


@given(COSTS, st.integers(0, COINS - 1), st.sampled_from([1, 2, 1_000, 5_000_000]))
def test_units_are_never_above_the_limit(cost: int, coin: int, most: int) -> None:
    for rounding in (ROUNDING_LADDER, ROUNDING_EXACT, ROUNDING_UNSPECIFIED):
        assert 0 <= units(cost, coin, rounding, most) <= most


@given(COSTS, st.integers(0, COINS - 1))
def test_exact_units_are_rounded_up(cost: int, coin: int) -> None:
    assert units(cost, coin, ROUNDING_EXACT) == math.ceil(Fraction(cost, MILLIONTHS))


@pytest.mark.parametrize(
    ("cost", "rounding", "coin"),
    [(-1, ROUNDING_LADDER, bytes(8)), (1, ROUNDING_LADDER, bytes(7)), (1, 9, bytes(8))],
)
def test_nonsense_is_refused(cost: int, rounding: Rounding.ValueType, coin: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        rounded_units(cost, rounding, coin, MOST)


@pytest.mark.parametrize("spread", [0.2, 0.5, 0.8])
def test_bill_of_ten_thousand_exchanges_comes_to_its_cost(spread: float) -> None:
    """The standard deviation of the sum: at most a quarter of a percent."""
    costs = costs_around(1_000, spread)
    variance = 0.0
    for cost in costs:
        low, high = ladder_neighbours(cost)
        chance = chance_of_high(cost)
        variance += chance * (1 - chance) * (high - low) ** 2
    mean = sum(costs) / len(costs) / MILLIONTHS
    assert math.sqrt(variance / len(costs) / 10_000) / mean <= 0.0025


@pytest.mark.parametrize("spread", [0.2, 0.5, 0.8])
def test_units_tell_little_about_a_cost(spread: float) -> None:
    """The information that units give about a cost of this spread, which is that of one model's responses
    whose sizes look alike, or more: at most two and a half bits.
    """
    costs = costs_around(1_000, spread)
    chances: defaultdict[int, float] = defaultdict(float)
    left = 0.0
    for cost in costs:
        low, high = ladder_neighbours(cost)
        chance = chance_of_high(cost)
        chances[low] += (1 - chance) / len(costs)
        chances[high] += chance / len(costs)
        left += sum(-each * math.log2(each) for each in (chance, 1 - chance) if each) / len(costs)
    entropy = -sum(chance * math.log2(chance) for chance in chances.values() if chance)
    assert entropy - left <= 2.5


def test_ladder_grows_by_the_like_everywhere() -> None:
    steps = [low for low, _ in map(ladder_neighbours, range(0, 10**10, MILLIONTHS)) if low >= 10]
    assert all(b / a <= 5 / 3 for a, b in pairwise(sorted(set(steps))))
