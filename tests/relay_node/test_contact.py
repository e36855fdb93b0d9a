"""How old the ledger's newest message is, on two clocks that nobody has set."""

from __future__ import annotations

import time

import pytest

from blindrelay.relay_node.accounts import Accounts
from blindrelay.relay_node.contact import SILENCE_SECONDS, Contact
from blindrelay.serving.boot_clock import since_boot
from blindrelay.serving.leases import Lease
from blindrelay.v1.ledger_pb2 import Allowance


@pytest.fixture(autouse=True)
def patient_relays() -> None:
    """Leaves the limits as they are: the clocks are the tests' own."""


def contact_at(clock: list[float]) -> Contact:
    """A stream that begins now."""
    contact = Contact(lambda: clock[0])
    contact.begin()
    return contact


def test_a_ledger_that_never_spoke_is_silent() -> None:
    assert Contact().silent
    assert contact_at([100.0]).silent


def test_each_message_counts_from_when_it_was_sent() -> None:
    clock = [100.0]
    contact = contact_at(clock)
    contact.heard(5_000.0)
    clock[0] = 100.0 + SILENCE_SECONDS
    assert not contact.silent
    contact.heard(5_003.0)
    clock[0] = 103.0 + SILENCE_SECONDS
    assert not contact.silent
    clock[0] += 0.001
    assert contact.silent


def test_what_waited_in_a_buffer_is_old() -> None:
    """The process was stopped for a minute, and reads at once what came meanwhile."""
    clock = [100.0]
    contact = contact_at(clock)
    contact.heard(5_000.0)
    clock[0] = 160.0
    contact.heard(5_003.0)
    contact.heard(5_006.0)
    assert contact.silent


def test_the_first_message_may_have_waited_too() -> None:
    clock = [100.0]
    contact = contact_at(clock)
    clock[0] = 160.0
    contact.heard(5_000.0)
    assert contact.silent


def test_a_new_stream_counts_again_with_any_clock() -> None:
    clock = [100.0]
    contact = contact_at(clock)
    contact.heard(5_000.0)
    clock[0] = 200.0
    contact.begin()
    assert contact.silent
    contact.heard(3.0)
    assert not contact.silent


def test_the_clock_grows() -> None:
    before, monotonic = since_boot(), time.monotonic()
    assert since_boot() >= before > 0
    assert since_boot() >= monotonic


def test_a_new_stream_voids_the_allowances_of_the_one_before() -> None:
    accounts = Accounts(time.monotonic)
    lease = Lease("ann", "lease", 1, 2, 3, 4)
    accounts.of(lease).allow(Allowance(account="ann", sequence=7, exchanges=5))
    accounts.void_allowances()
    assert accounts.of(lease)._left() == 0
    accounts.allow(Allowance(account="ann", sequence=6, exchanges=9))
    assert accounts.of(lease)._left() == 0, "it is older than the one that was voided"
    accounts.allow(Allowance(account="ann", sequence=7, exchanges=2))
    assert accounts.of(lease)._left() == 2
