"""Two clients of an honest bridge: comparing their histories finds nothing."""

from __future__ import annotations

import gc

import pytest

from blindrelay.provider_bridge import HeldIdentity
from blindrelay.provider_bridge.keys.epoch_keys import EpochKeys
from blindrelay.trust import IdentityKey, KeyHistory, compare

from ..provider_bridge.replica import FakeTime


@pytest.mark.parametrize("epoch", [60, 600, 3_600])
def test_epochs_and_restarts_are_not_differences(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "collect", lambda: 0)  # it is called for each dropped key, hundreds of times here
    time, identity = FakeTime(), IdentityKey.generate()

    def started() -> EpochKeys:
        return EpochKeys(HeldIdentity(identity), time.clock, epoch=epoch)

    replicas = [started(), started()]
    clients = {name: KeyHistory(identity.public_key) for name in ("left", "right")}
    for step in range(200):
        time.advance(37)
        if step % 50 == 49:
            replicas[step // 50 % 2] = started()
        looking = clients["left" if step % 3 else "right"]
        for replica in replicas:
            looking.admit(replica.directory(), int(time.clock.now()))
    comparison = compare(clients)
    assert comparison.differences == ()
    assert all(len(history.directories.shown) > 5 for history in clients.values())
