"""PADMÉ, and how padding lies in records, against formulas of our own."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.sealing.padding import FLOOR, RECORD_OVERHEAD, final_padding, padme

LENGTHS = st.one_of(st.integers(2, 1 << 20), st.integers(2, 1 << 45))


def in_words(length: int) -> int:
    """PADMÉ as the paper's text has it: E, S and the last E-S bits, in arithmetic rather than bit masks."""
    e = math.floor(math.log2(length))
    s = math.floor(math.log2(e)) + 1
    step = int(2 ** (e - s))
    return math.ceil(length / step) * step


def test_padme_is_the_papers_formula_for_every_small_length() -> None:
    for length in range(2, 70_000):
        assert padme(length) == in_words(length)


@given(LENGTHS)
def test_padme_is_the_papers_formula(length: int) -> None:
    assert padme(length) == in_words(length)


@given(LENGTHS)
def test_padme_adds_at_most_12_percent_and_takes_nothing_away(length: int) -> None:
    assert length <= padme(length) <= length * 1.12


@given(LENGTHS)
def test_padme_keeps_order_and_is_a_projection(length: int) -> None:
    assert padme(length) <= padme(length + 1)
    assert padme(padme(length)) == padme(length)


@given(st.integers(20, 45))
def test_padme_leaves_few_sizes(exponent: int) -> None:
    """Between two powers of two there are 2^s sizes, s being the bits of the exponent."""
    start = 1 << exponent
    sizes, length = 0, start
    while length < 2 * start:
        sizes, length = sizes + 1, padme(length + 1)
    assert sizes == 1 << exponent.bit_length()


def sizes_of(last: int, zeros: list[int]) -> list[int]:
    """The sizes of the last record with content and of the padding records after it."""
    return [last + zeros[0], *(RECORD_OVERHEAD + more for more in zeros[1:])]


FULL = 65_617
HEADER = 24


def check_plan(sent: int, last: int, floor: int = FLOOR) -> None:
    """The sum is exact, and how it lies in records follows from the sum alone."""
    zeros = final_padding(sent, last, FULL, floor)
    sizes = sizes_of(last, zeros)
    assert zeros[0] >= 0
    assert set(sizes[:-1]) <= {FULL}
    assert RECORD_OVERHEAD <= sizes[-1] < FULL + RECORD_OVERHEAD
    assert sent + sum(sizes) == padme(max(floor, sent + last))


def test_every_small_message_is_one_record_of_the_floor() -> None:
    for last in range(RECORD_OVERHEAD, FLOOR - HEADER + 1):
        assert final_padding(HEADER, last, FULL) == [FLOOR - HEADER - last]


def test_every_single_record_is_padded_exactly() -> None:
    for last in range(RECORD_OVERHEAD, FULL + 1):
        check_plan(HEADER, last)


@pytest.mark.parametrize("room", range(64))
def test_a_last_record_with_hardly_any_room(room: int) -> None:
    """Around the edge where padding no longer fits into the record, and is too little for another."""
    for sent in range(HEADER, 300_000, 61):
        check_plan(sent, FULL - room)


@pytest.mark.parametrize("missing", range(64))
def test_every_small_gap_beside_every_small_room(missing: int) -> None:
    for room in range(64):
        last = FULL - room
        check_plan(padme(500_000) - missing - last, last)


@given(st.integers(0, 1 << 33), st.integers(RECORD_OVERHEAD, FULL), st.integers(2, 1 << 17))
def test_every_plan_adds_up_and_every_record_fits(sent: int, last: int, floor: int) -> None:
    check_plan(sent, last, floor)


@given(st.integers(0, 1 << 33), st.integers(RECORD_OVERHEAD, FULL))
def test_padding_costs_at_most_12_percent_above_the_floor(sent: int, last: int) -> None:
    total = sent + sum(sizes_of(last, final_padding(sent, last, FULL)))
    assert total <= max(FLOOR, (sent + last) * 1.12)
