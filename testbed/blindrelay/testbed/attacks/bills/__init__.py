"""Attacks on bills: receipts, statements and books, each with a twin that must succeed."""

from blindrelay.testbed.attacks.bills.catalogue import BILL_ATTACKS
from blindrelay.testbed.attacks.bills.run import BillAttack, BillRow, run_bill_attack

__all__ = ["BILL_ATTACKS", "BillAttack", "BillRow", "run_bill_attack"]
