"""Answers about bills: receipts with their statements, price tables, watermarks, and rounding."""

from __future__ import annotations

import hashlib

from blindrelay.sealing.encapsulation import _coin
from blindrelay.trust import (
    BillSigner,
    SignedDelegation,
    WrongBillError,
    bill_signer,
    check_bill,
    check_receipt,
    read_statement,
    verify_price_table,
    verify_receipt,
    verify_watermark,
)
from blindrelay.v1.envelope import parse_envelope
from blindrelay.v1.receipts_pb2 import Rounding, SignedPriceTable, SignedReceipt, SignedWatermark
from blindrelay.v1.units import rounded_units

from .words import Fields, raw

_ACCEPTED: Fields = {"outcome": "accept"}


def bill(asked: Fields) -> Fields:
    identity, envelope, coin, statement = raw(asked, "identity", "envelope", "coin", "statement")
    signed_table, signed_receipt = raw(asked, "price_table", "receipt")
    price_table = SignedPriceTable.FromString(signed_table)
    table = verify_price_table(price_table, identity)
    receipt = verify_receipt(SignedReceipt.FromString(signed_receipt), _signer(asked))
    check_receipt(receipt, envelope)
    if receipt.price_table_hash != hashlib.sha256(price_table.table).digest():
        raise WrongBillError("the receipt names another table")
    stated = read_statement(statement, receipt) if receipt.statement_hash else None
    check_bill(receipt, stated, table, parse_envelope(envelope).max_units, coin)
    return _ACCEPTED


def price_table(asked: Fields) -> Fields:
    identity, signed = raw(asked, "identity", "price_table")
    verify_price_table(SignedPriceTable.FromString(signed), identity)
    return _ACCEPTED


def watermark(asked: Fields) -> Fields:
    (signed,) = raw(asked, "watermark")
    verify_watermark(SignedWatermark.FromString(signed), _signer(asked), int(asked["now"]))
    return _ACCEPTED


def rounding(asked: Fields) -> Fields:
    coin = _coin(*raw(asked, "exchange_secret", "envelope_hash", "response_nonce"))
    return {"coin": coin.hex(), "units": [str(_units(case)) for case in asked["cases"]]}


def _units(case: Fields) -> int:
    (coin,) = raw(case, "coin")
    rounding = Rounding.ValueType(case["rounding"])
    return rounded_units(int(case["cost"]), rounding, coin, int(case["max_units"]))


def _signer(asked: Fields) -> BillSigner:
    identity, delegation, signature = raw(asked, "identity", "delegation", "delegation_signature")
    return bill_signer(SignedDelegation(delegation, signature), identity)
