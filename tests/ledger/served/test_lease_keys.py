"""Which key signs a lease, so that every relay that is shown it knows the key."""

from __future__ import annotations

from blindrelay.ledger.lease_keys import SPREAD_SECONDS, LeaseKeys

OLD, NEW, NEWEST = b"o" * 32, b"n" * 32, b"x" * 32


def test_a_new_key_signs_once_relays_have_it() -> None:
    clock = [0.0]
    keys = LeaseKeys((OLD,), lambda: clock[0])
    assert keys.signing == OLD
    assert keys.update((NEW, OLD))
    assert keys.signing == OLD
    clock[0] = SPREAD_SECONDS
    assert keys.signing == NEW
    assert not keys.update((NEW, OLD))
    assert keys.update((NEWEST, NEW))
    assert keys.signing == NEW


def test_after_a_restart_the_older_key_signs_first() -> None:
    """The newer one may have been drawn at this start."""
    assert LeaseKeys((NEW, OLD), lambda: 0.0).signing == OLD


def test_keys_do_not_print() -> None:
    assert OLD.decode() not in repr(LeaseKeys((OLD,), lambda: 0.0))
