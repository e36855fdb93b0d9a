"""PADMÉ and the plan of a direction's padding, against formulas written independently."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.sealing.padding import FLOOR, RECORD_OVERHEAD, final_padding, padme

LENGTHS = st.one_of(st.integers(2, 1 << 20), st.integers(2, 1 << 45))
FULL = 65_616
NONCE = 32


def by_the_paper(length: int) -> int:
    """PADMÉ in arithmetic instead of bit masks: E, S and the last E-S bits."""
    e = math.floor(math.log2(length))
    s = math.floor(math.log2(e)) + 1
    step = int(2 ** (e - s))
    return math.ceil(length / step) * step


@given(LENGTHS)
def test_padme_follows_the_paper(length: int) -> None:
    assert padme(length) == by_the_paper(length)
    assert length <= padme(length) <= length * 1.12
    assert padme(padme(length)) == padme(length) <= padme(length + 1)


@given(st.integers(20, 45))
def test_padme_leaves_few_sizes(exponent: int) -> None:
    """Between two powers of two there are 2^s sizes, where s is the number of bits in the exponent."""
    start = 1 << exponent
    sizes, length = 0, start
    while length < 2 * start:
        sizes, length = sizes + 1, padme(length + 1)
    assert sizes == 1 << exponent.bit_length()


def check_plan(sent: int, last: int, floor: int = FLOOR) -> None:
    """The sum is exact, and the sizes of the records depend on the sum alone."""
    zeros = final_padding(sent, last, FULL, floor)
    sizes = [last + zeros[0], *(RECORD_OVERHEAD + more for more in zeros[1:])]
    assert zeros[0] >= 0
    assert set(sizes[:-1]) <= {FULL}
    assert RECORD_OVERHEAD <= sizes[-1] < FULL + RECORD_OVERHEAD
    assert sent + sum(sizes) == padme(max(floor, sent + last))


def test_short_message_is_one_record_of_the_floor() -> None:
    for last in range(RECORD_OVERHEAD, FLOOR - NONCE + 1):
        assert final_padding(NONCE, last, FULL) == [FLOOR - NONCE - last]


@pytest.mark.parametrize("gap", range(0, 64, 3))
def test_small_gap_after_a_nearly_full_record(gap: int) -> None:
    """Where padding no longer fits into the last record, and is too little for another one."""
    for room in range(64):
        last = FULL - room
        check_plan(padme(500_000) - gap - last, last)
        check_plan(NONCE + 61 * gap, last)


@given(st.integers(0, 1 << 33), st.integers(RECORD_OVERHEAD, FULL), st.integers(2, 1 << 17))
def test_plan_adds_up_and_every_record_fits(sent: int, last: int, floor: int) -> None:
    check_plan(sent, last, floor)
