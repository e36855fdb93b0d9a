"""All attacks on bills, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from blindrelay.client.bill_journal import KeptReceipt
from blindrelay.client.commands.bill.comparison import Kind
from blindrelay.testbed.attacks.bills.doubles import (
    without_closing,
    without_difference,
    without_first_receipt_stands,
    without_identity,
    without_limit_of_units,
    without_signatures,
    without_statement_hash,
)
from blindrelay.testbed.attacks.bills.leases import LEASE_ATTACKS
from blindrelay.testbed.attacks.bills.run import BillAttack
from blindrelay.testbed.attacks.bills.scene import COST, BillScene, receipt_item
from blindrelay.testbed.attacks.doubles.double import Double
from blindrelay.testbed.billing_bridge import BillingBridge
from blindrelay.trust import TrustError, receipts, sign_receipt, statements
from blindrelay.v1.receipts_pb2 import Receipt, SignedReceipt, SignedWatermark
from blindrelay.v1.settlement_pb2 import SettleResponse

_DEAR: Final = 500


def _thief() -> BillingBridge:
    """Keys that the pinned bridge knows nothing of."""
    return BillingBridge(seed=9)


def _honest(scene: BillScene, number: int = 1) -> tuple[bytes, KeptReceipt]:
    """An exchange, answered and settled as it should be."""
    envelope = scene.exchange(number)
    receipt = scene.bridge.receipt(envelope)
    scene.answer(envelope, receipt)
    scene.settle(receipt_item(receipt))
    return envelope, receipt


def _with_units(receipt: KeptReceipt, units: int) -> SignedReceipt:
    """The receipt, changed after it was signed."""
    changed = Receipt.FromString(receipt.signed.receipt)
    changed.units = units
    return SignedReceipt(receipt=changed.SerializeToString(), signature=receipt.signed.signature)


def forged(scene: BillScene) -> bool:
    """Another key than the delegated one signs a receipt."""
    receipt = Receipt.FromString(scene.bridge.receipt(scene.exchange()).signed.receipt)
    scene.settle(SettleResponse(sequence=1, receipt=sign_receipt(receipt, _thief().signer)))
    return scene.charged > 0


def foreign(scene: BillScene) -> bool:
    """Another bridge, with an identity of its own, bills the exchange."""
    thief = _thief()
    scene.settle(receipt_item(thief.receipt(scene.exchange())), bridge=thief)
    return scene.charged > 0


def altered(scene: BillScene) -> bool:
    """The units are raised on the way to the ledger."""
    receipt = scene.bridge.receipt(scene.exchange())
    scene.settle(SettleResponse(sequence=1, receipt=_with_units(receipt, _DEAR)))
    return scene.charged > COST


def replayed(scene: BillScene) -> bool:
    """The receipt is sent again, after it was acknowledged."""
    _, receipt = _honest(scene)
    scene.settle(receipt_item(receipt, 2))
    return scene.charged > COST


def doubled(scene: BillScene) -> bool:
    """The bridge signs a second receipt, with more units."""
    envelope, _ = _honest(scene)
    scene.settle(receipt_item(scene.bridge.receipt(envelope, units=_DEAR), 2))
    return scene.charged > COST


def late(scene: BillScene) -> bool:
    """The bridge withholds the receipt until its own watermark has closed the exchange."""
    envelope = scene.exchange()
    scene.settle(scene.watermark())
    scene.settle(receipt_item(scene.bridge.receipt(envelope)))
    return scene.charged > 0


def forged_watermark(scene: BillScene) -> bool:
    """Somebody closes an exchange in the bridge's name, so that its receipt charges nothing."""
    envelope = scene.exchange()
    forged = SignedWatermark(watermark=scene.watermark().watermark.watermark, signature=bytes(64))
    scene.settle(SettleResponse(watermark=forged))
    scene.settle(receipt_item(scene.bridge.receipt(envelope)))
    return scene.charged < COST


def above_the_limit(scene: BillScene) -> bool:
    """The bridge bills more than the envelope allows."""
    scene.settle(receipt_item(scene.bridge.receipt(scene.exchange(), units=2_000_000)))
    return scene.charged > 0


def repudiated(scene: BillScene) -> bool:
    """The bridge signs with junk, and could deny the receipt that a charge rests on."""
    receipt = scene.bridge.receipt(scene.exchange())
    junk = SignedReceipt(receipt=receipt.signed.receipt, signature=bytes(64))
    scene.settle(SettleResponse(sequence=1, receipt=junk))
    return scene.charged > 0


def equivocated(scene: BillScene) -> bool:
    """The bridge tells the client less than it bills the relay."""
    envelope = scene.exchange()
    scene.answer(envelope, scene.bridge.receipt(envelope))
    scene.settle(receipt_item(scene.bridge.receipt(envelope, units=_DEAR)))
    return not scene.noticed()


def inflated(scene: BillScene) -> bool:
    """The relay states more units than the receipt has."""
    _honest(scene)
    statement = scene.statement()
    statement.lines[0].units = _DEAR
    return not scene.noticed(replace(statement, charged=_DEAR))


def inflated_sum(scene: BillScene) -> bool:
    """The relay states a higher sum than its lines have."""
    _honest(scene)
    statement = scene.statement()
    return not scene.noticed(replace(statement, charged=_DEAR))


def withheld_from_the_client(scene: BillScene) -> bool:
    """The relay charges, and does not show the receipt."""
    _honest(scene)
    statement = scene.statement()
    statement.lines[0].ClearField("receipt")
    return not scene.noticed(statement)


def altered_for_the_client(scene: BillScene) -> bool:
    """The relay raises the units in the receipt that it shows."""
    _, receipt = _honest(scene)
    statement = scene.statement()
    statement.lines[0].units = _DEAR
    statement.lines[0].receipt.CopyFrom(_with_units(receipt, _DEAR))
    found = scene.compared(replace(statement, charged=_DEAR)).differences
    return Kind.BAD_RECEIPT not in [each.kind for each in found]


def invented(scene: BillScene) -> bool:
    """Relay and bridge bill an exchange that the client did not send."""
    _honest(scene)
    envelope = scene.exchange(2, by_client=False)
    scene.settle(receipt_item(scene.bridge.receipt(envelope)))
    return not scene.noticed()


def refused_and_charged(scene: BillScene) -> bool:
    """The relay tells the client that it has no units left, and lets the exchange run all the same."""
    envelope = scene.exchange()
    next(iter(scene.sent.values())).refusal = "limit_units"
    scene.settle(receipt_item(scene.bridge.receipt(envelope)))
    return not scene.noticed()


def moved(scene: BillScene) -> bool:
    """The relay shows the receipt of one exchange for another."""
    _honest(scene, 1)
    _honest(scene, 2)
    statement = scene.statement()
    statement.lines[1].receipt.CopyFrom(statement.lines[0].receipt)
    return not scene.noticed(statement)


def prices_switched(scene: BillScene) -> bool:
    """The bridge charges by a dearer table than the one that the client accepted."""
    envelope = scene.exchange()
    for rate in (rate for row in scene.bridge.table.rows for rate in row.rates):
        rate.rate = 5_000_000
    scene.settle(SettleResponse(price_table=scene.bridge.signed_table))
    statement = scene.bridge.statement(10, cost=50_000_000)
    receipt = scene.bridge.receipt(envelope, statement, units=50)
    scene.answer(envelope, receipt)
    scene.settle(receipt_item(receipt))
    return not scene.noticed()


def miscounted(scene: BillScene) -> bool:
    """The bridge bills more than its own counts come to."""
    envelope = scene.exchange()
    receipt = scene.bridge.receipt(envelope, units=_DEAR)
    scene.answer(envelope, receipt)
    scene.settle(receipt_item(receipt))
    return not scene.noticed()


def denied_statement(scene: BillScene) -> bool:
    """The client shows another statement, to deny which model it asked."""
    _, receipt = _honest(scene)
    other = scene.bridge.statement(10, model="gpt-5.5-mini", row=1).SerializeToString()
    signed = Receipt.FromString(receipt.signed.receipt)
    try:
        shown = statements.read_statement(other, signed)
        statements.check_bill(signed, shown, scene.bridge.table, 1_000_000, receipt.coin)
    except TrustError:
        return False
    return True


def denied_receipt(scene: BillScene) -> bool:
    """The client shows a receipt of fewer units."""
    _, receipt = _honest(scene)
    signer = receipts.bill_signer(scene.bridge.delegation, scene.bridge.identity.public_key)
    try:
        receipts.verify_receipt(_with_units(receipt, 1), signer)
    except TrustError:
        return False
    return True


def _attack(
    name: str, attack: Callable[[BillScene], bool], stopped_by: str, double: Double, shows: str
) -> BillAttack:
    return BillAttack(name, str(attack.__doc__), attack, stopped_by, double, shows)


_SIGNATURE: Final = "the delegated key's signature"
_CHARGED: Final = "the customer is charged for it"
_UNNOTICED: Final = "the client notices nothing"

# fmt: off
BILL_ATTACKS: Final = (
    _attack("bill-forged", forged, _SIGNATURE, without_signatures, _CHARGED),
    _attack("bill-of-another-bridge", foreign, "the configured identity", without_identity, _CHARGED),
    _attack("bill-altered", altered, _SIGNATURE, without_signatures, _CHARGED),
    _attack("bill-replayed", replayed, "the first receipt stands", without_first_receipt_stands, _CHARGED),
    _attack("bill-doubled", doubled, "the first receipt stands", without_first_receipt_stands, _CHARGED),
    _attack("bill-after-its-watermark", late, "a watermark closes", without_closing, _CHARGED),
    _attack("watermark-forged", forged_watermark, _SIGNATURE, without_signatures, "nothing is charged"),
    _attack("bill-above-the-limit", above_the_limit, "the envelope's max_units",
            without_limit_of_units, _CHARGED),
    _attack("bridge-repudiates", repudiated, _SIGNATURE, without_signatures, "a charge rests on no proof"),
    _attack("bridge-equivocates", equivocated, "the client's own receipt",
            without_difference(Kind.TWO_RECEIPTS), _UNNOTICED),
    _attack("bridge-miscounts", miscounted, "units follow from the statement",
            without_difference(Kind.WRONG_STATEMENT), _UNNOTICED),
    _attack("prices-switched", prices_switched, "the accepted table's hash",
            without_difference(Kind.WRONG_STATEMENT), _UNNOTICED),
    _attack("relay-inflates", inflated, "units of the receipt",
            without_difference(Kind.OTHER_UNITS), _UNNOTICED),
    _attack("relay-inflates-the-sum", inflated_sum, "the sum of the lines",
            without_difference(Kind.WRONG_SUM), _UNNOTICED),
    _attack("relay-withholds-the-receipt", withheld_from_the_client, "no receipt, no charge",
            without_difference(Kind.NO_RECEIPT), _UNNOTICED),
    _attack("relay-alters-the-receipt", altered_for_the_client, _SIGNATURE, without_signatures, _UNNOTICED),
    _attack("relay-moves-the-receipt", moved, "the envelope's hash in the receipt",
            without_difference(Kind.BAD_RECEIPT), _UNNOTICED),
    _attack("relay-invents-an-exchange", invented, "the client's journal",
            without_difference(Kind.NOT_SENT), _UNNOTICED),
    _attack("relay-refuses-and-charges", refused_and_charged, "the client's journal",
            without_difference(Kind.REFUSED), _UNNOTICED),
    _attack("client-denies-the-model", denied_statement, "the statement's hash in the receipt",
            without_statement_hash, "another statement passes"),
    _attack("client-denies-the-units", denied_receipt, _SIGNATURE, without_signatures,
            "a changed receipt passes"),
    *LEASE_ATTACKS,
)
# fmt: on
"""In the order in which they are shown."""
