"""An attack on a bill, run against the real parts and against a double."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from blindrelay.testbed.attacks.bills.scene import COST, BillScene, bill_scene, receipt_item
from blindrelay.testbed.attacks.doubles.double import Double


@dataclass(frozen=True)
class BillAttack:
    """One attack and its twin.

    Attributes:
        name: its name on the command line.
        about: one sentence.
        attack: makes the attack, and returns whether it succeeded.
        stopped_by: the protection that stops it.
        double: takes that protection out.
        shows: what the twin's success is, in words.
    """

    name: str
    about: str
    attack: Callable[[BillScene], bool]
    stopped_by: str
    double: Double
    shows: str


@dataclass(frozen=True)
class BillRow:
    """The outcome of one attack; `surprises` says what was not as expected."""

    attack: BillAttack
    surprises: tuple[str, ...]

    @property
    def as_expected(self) -> bool:
        return not self.surprises


def run_bill_attack(attack: BillAttack) -> BillRow:
    """Runs an attack against the real parts, then an honest exchange, and then the twin."""
    with bill_scene() as scene:
        succeeded = attack.attack(scene)
        honest = _honest_exchange(scene)
        balanced = scene.books.check().balanced
    with attack.double(), bill_scene() as scene:
        twin = attack.attack(scene)
    checks = {
        f"it succeeded: {attack.shows}": not succeeded,
        "an honest exchange afterwards was not charged as it should be": honest,
        "the books do not balance": balanced,
        f"the twin does not show that {attack.shows}": twin,
    }
    return BillRow(attack, tuple(failing for failing, holds in checks.items() if not holds))


def _honest_exchange(scene: BillScene) -> bool:
    before = scene.charged
    envelope = scene.exchange(99)
    receipt = scene.bridge.receipt(envelope)
    scene.answer(envelope, receipt)
    scene.settle(receipt_item(receipt))
    return scene.charged == before + COST
