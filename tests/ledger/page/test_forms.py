"""What forms may say, and what is told of the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from blindrelay.ledger.page.errors import FormError
from blindrelay.ledger.page.forms import MAX_INTEGER, Form

INTEGERS = {
    "0": 0,
    " 1000 ": 1_000,
    "1,000,000": 1_000_000,
    "1'000": 1_000,
    "1 000\u00a0000": 1_000_000,
    str(MAX_INTEGER): MAX_INTEGER,
}


@pytest.mark.parametrize("text", INTEGERS)
def test_integers_may_be_grouped(text: str) -> None:
    assert Form({"units": text}).integer("units", "units") == INTEGERS[text]


def test_integers_may_be_below_zero_where_that_is_allowed() -> None:
    assert Form({"units": "-1,000"}).integer("units", "units", minimum=-1_000) == -1_000


def integer(form: Form) -> Any:
    return form.integer("field", "the field", maximum=1_000)


def number(form: Form) -> Any:
    return form.optional_number("field", "the field")


def day(form: Form) -> Any:
    return form.end_of_day("field", "the field")


def numbers(form: Form) -> Any:
    return form.integers("field", "the field", maximum=9)


MISTAKES = [
    (integer, "", "the field is missing"),
    (integer, "-1", "the field is from 0 to 1,000"),
    (integer, "1001", "the field is from 0 to 1,000"),
    (integer, "1.5", "the field is a whole number, such as 1000"),
    (integer, "--1", "the field is a whole number, such as 1000"),
    (integer, "٣", "the field is a whole number, such as 1000"),
    (integer, "9" * 5_000, "the field is a whole number, such as 1000"),
    (number, "0", "the field is a number above 0 and at most 1,000,000, such as 2.5"),
    (number, "nan", "the field is a number above 0 and at most 1,000,000, such as 2.5"),
    (number, "inf", "the field is a number above 0 and at most 1,000,000, such as 2.5"),
    (number, "many", "the field is a number above 0 and at most 1,000,000, such as 2.5"),
    (day, "2026-02-30", "the field is a day, such as 2030-12-31"),
    (day, "soon", "the field is a day, such as 2030-12-31"),
    (numbers, "1 10", "the field is from 0 to 9"),
    (lambda form: form.text("field", "the field"), "  ", "the field is missing"),
]


@pytest.mark.parametrize(("read", "value", "message"), MISTAKES)
def test_wrong_values_are_told(read: Callable[[Form], Any], value: str, message: str) -> None:
    with pytest.raises(FormError) as error:
        read(Form({"field": value}))
    assert str(error.value) == message


def test_empty_fields_are_none() -> None:
    form = Form({"field": " "})
    assert form.optional_integer("field", "") is None
    assert number(form) is None
    assert day(form) is None
    assert numbers(Form({})) == []


def test_day_ends_at_its_last_second_in_utc() -> None:
    assert day(Form({"field": "2026-12-31"})) == 1_798_761_599


def test_words_are_parted_by_spaces_commas_and_lines() -> None:
    assert Form({"field": " a, b\nc "}).words("field") == ["a", "b", "c"]
