"""Bills are judged as their vectors say, by the rules that bridge, client and ledger share."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from blindrelay.trust import (
    BadDelegationError,
    MalformedBillError,
    SignedDelegation,
    UnsignedBillError,
    WrongBillError,
    bill_signer,
    check_bill,
    check_receipt,
    read_statement,
    verify_price_table,
    verify_receipt,
    verify_watermark,
)
from blindrelay.v1 import labels
from blindrelay.v1.envelope import parse_envelope
from blindrelay.v1.receipts_pb2 import Rounding, SignedPriceTable, SignedReceipt, SignedWatermark
from blindrelay.v1.units import COIN_SIZE, rounded_units

FOLDER = Path(__file__).parents[2] / "spec" / "vectors"
ERRORS: dict[str, type[Exception]] = {
    "malformed": MalformedBillError,
    "unsigned": UnsignedBillError,
    "wrong": WrongBillError,
    "bad_delegation": BadDelegationError,
}

Vector = dict[str, Any]


def vectors(kind: str) -> pytest.MarkDecorator:
    paths = sorted((FOLDER / kind).glob("*.json"))
    assert paths
    return pytest.mark.parametrize("path", paths, ids=[path.stem for path in paths])


def read(path: Path) -> tuple[str, dict[str, bytes]]:
    vector = json.loads(path.read_text("utf-8"))
    framing = ("kind", "comment", "expect", "now")
    return vector["expect"], {
        name: bytes.fromhex(text) for name, text in vector.items() if name not in framing
    }


@vectors("bill")
def test_bill(path: Path) -> None:
    expect, given = read(path)
    if expect == "accept":
        judge_bill(**given)
        return
    with pytest.raises(ERRORS[expect]):
        judge_bill(**given)


def judge_bill(
    identity: bytes,
    envelope: bytes,
    coin: bytes,
    delegation: bytes,
    delegation_signature: bytes,
    price_table: bytes,
    receipt: bytes,
    statement: bytes,
) -> None:
    """Everything that a client checks, in the order of annex E.4."""
    signed_table = SignedPriceTable.FromString(price_table)
    table = verify_price_table(signed_table, identity)
    signer = bill_signer(SignedDelegation(delegation, delegation_signature), identity)
    verified = verify_receipt(SignedReceipt.FromString(receipt), signer)
    check_receipt(verified, envelope)
    if verified.price_table_hash != hashlib.sha256(signed_table.table).digest():
        raise WrongBillError("another table")
    stated = read_statement(statement, verified) if verified.statement_hash else None
    max_units = parse_envelope(envelope).max_units
    check_bill(verified, stated, table, max_units, coin)
    check_bill(verified, stated, table, max_units, None)


@vectors("price_table")
def test_price_table(path: Path) -> None:
    expect, given = read(path)
    signed = SignedPriceTable.FromString(given["price_table"])
    if expect == "accept":
        assert verify_price_table(signed, given["identity"]).rows
        return
    with pytest.raises(ERRORS[expect]):
        verify_price_table(signed, given["identity"])


@vectors("watermark")
def test_watermark(path: Path) -> None:
    expect, given = read(path)
    now = int(json.loads(path.read_text("utf-8"))["now"])
    delegation = SignedDelegation(given["delegation"], given["delegation_signature"])
    signer = bill_signer(delegation, given["identity"])
    signed = SignedWatermark.FromString(given["watermark"])
    if expect == "accept":
        assert verify_watermark(signed, signer, now).replica_id
        with pytest.raises(UnsignedBillError):
            verify_watermark(signed, signer, now + 86_401)  # its delegation has ended
        return
    with pytest.raises(ERRORS[expect]):
        verify_watermark(signed, signer, now)


@vectors("rounding")
def test_rounding(path: Path) -> None:
    vector = json.loads(path.read_text("utf-8"))
    bound = bytes.fromhex(vector["envelope_hash"] + vector["response_nonce"])
    info = labels.labelled(labels.ROUNDING, bound)
    coin = HKDF(SHA256(), COIN_SIZE, None, info).derive(bytes.fromhex(vector["exchange_secret"]))
    assert coin.hex() == vector["coin"]
    for case in vector["cases"]:
        rounding = Rounding.ValueType(case["rounding"])
        found = rounded_units(
            int(case["cost"]), rounding, bytes.fromhex(case["coin"]), int(case["max_units"])
        )
        assert found == int(case["units"]), case
