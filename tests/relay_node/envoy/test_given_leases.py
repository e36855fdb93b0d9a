"""Which leases a control process remembers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from blindrelay.relay_node.envoy import gates
from blindrelay.serving.leases import Lease

FIRST = Lease("ann", "first", issued_at=0, expires_at=300, concurrent=4, units=1_000_000)
OTHER = replace(FIRST, account="bob", lease_id="other")


def test_renewed_lease_is_remembered_once_and_for_longer() -> None:
    now = [0.0]
    given = gates._Given(lambda: now[0])
    renewed = replace(FIRST, issued_at=150, expires_at=450)
    for lease in (FIRST, OTHER, FIRST, renewed):
        given.add(lease)
    assert given.now() == [OTHER, renewed]
    now[0] = 301.0
    assert given.now() == [renewed]


def test_one_token_does_not_displace_the_leases_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "_MAX_LEASES", 2)
    given = gates._Given(lambda: 0.0)
    for lease in (OTHER, FIRST, FIRST, FIRST):
        given.add(lease)
    assert given.now() == [OTHER, FIRST]
