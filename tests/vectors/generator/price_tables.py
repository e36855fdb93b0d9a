"""Scenarios of signed price tables."""

from __future__ import annotations

from collections.abc import Iterator

from generator.bill_parts import (
    DAY,
    Rows,
    price_row,
    price_table,
    signed_table,
    valid_delegation,
)
from generator.fixed import IDENTITY, NOW, STRANGER, public
from generator.primitives import encode
from generator.scenario import Scenario

from blindrelay.v1.receipts_pb2 import (
    MEASURE_INPUT,
    PriceRow,
    Rate,
)


def scenarios() -> Iterator[Scenario]:
    def scenario(name: str, comment: str, expect: str, signed: bytes) -> Scenario:
        fields = {"identity": public(IDENTITY), "price_table": signed}
        return Scenario("price_table", name, comment, expect, fields)

    yield scenario("signed", "Three rows.", "accept", signed_table(encode(price_table())))
    malformed: Rows = {
        "version_2": ("A later version.", {"version": 2}),
        "never_valid": ("It ends before it begins.", {"valid_to": NOW - DAY - 1}),
        "valid_from_missing": ("Since ever.", {"valid_from": 0}),
        "unit_missing": ("Nobody knows what a unit is.", {"unit": ""}),
        "star_within": ("A star within a name.", {"rows": [price_row("openai", "gpt-*-mini", input=1)]}),
        "model_missing": ("A row without a model.", {"rows": [price_row("openai", "", input=1)]}),
        "provider_missing": ("A row without a provider.", {"rows": [price_row("", "*", input=1)]}),
        "priced_twice": (
            "A measure twice.",
            {"rows": [PriceRow(provider="a", model="*", rates=[Rate(measure=MEASURE_INPUT, rate=1)] * 2)]},
        ),
        "too_large": ("98,305 bytes or more.", {"unit": "x" * 98_304}),
    }
    for name, (comment, changes) in malformed.items():
        yield scenario(name, comment, "malformed", signed_table(encode(price_table(**changes))))
    foreign = signed_table(encode(price_table(identity=public(STRANGER))))
    yield scenario("foreign_table", "Another bridge's, signed by this one.", "wrong", foreign)
    yield scenario(
        "forged", "A stranger's signature.", "unsigned", signed_table(encode(price_table()), by=STRANGER)
    )
    undelegated = signed_table(encode(price_table()), owner=STRANGER)
    yield scenario("delegation_forged", "A stranger's delegation.", "bad_delegation", undelegated)
    late = signed_table(
        encode(price_table()), valid_delegation(not_before=NOW + DAY + 1, not_after=NOW + 2 * DAY)
    )
    yield scenario("delegated_later", "A delegation of a later time.", "unsigned", late)
