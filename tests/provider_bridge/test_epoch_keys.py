"""Sealing keys: drawn, announced, replaced and dropped, in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from blindrelay.provider_bridge import HeldIdentity
from blindrelay.provider_bridge.keys import epoch_keys
from blindrelay.provider_bridge.keys.epoch_keys import EpochKeys
from blindrelay.trust import DirectoryHistory, IdentityKey, VerifiedDirectory, verify_directory

from .replica import START, DelegatedReplica, FakeTime, W

EPOCH = 3_600


class Replica:
    """Epoch keys under a clock that a test moves, and a client that judges each directory."""

    def __init__(self, next_identity_hash: bytes = b"") -> None:
        self.time = FakeTime(START + 7)
        self.identity = IdentityKey.generate()
        self.changes: list[float] = []
        self.history = DirectoryHistory()
        held = HeldIdentity(self.identity, next_identity_hash)
        self.keys = EpochKeys(held, self.time.clock, epoch=EPOCH, on_change=self._changed)

    def _changed(self) -> None:
        self.changes.append(self.time.wall)

    @property
    def now(self) -> int:
        return int(self.time.clock.now())

    def directory(self) -> VerifiedDirectory:
        directory = verify_directory(self.keys.directory(), self.identity.public_key, self.now)
        self.history.judge(directory)
        return directory


@pytest.fixture
def replica() -> Replica:
    return Replica()


def test_clients_with_clocks_off_by_the_window_find_a_key(replica: Replica) -> None:
    for skew in (-W, W):
        issued_at = -(-(replica.now + skew) // 10) * 10
        keys = verify_directory(
            replica.keys.directory(), replica.identity.public_key, replica.now + skew
        ).keys
        assert any(key.takes(issued_at) for key in keys)


def test_next_key_is_announced_before_the_present_one_ends_and_is_dropped(replica: Replica) -> None:
    (first,) = replica.directory().keys
    assert (first.not_before, first.not_after) == (START - W, START + EPOCH), "in steps of ten seconds"
    held = replica.keys.find(first.key_id)
    assert held is not None
    assert held.config == first.config
    assert int(replica.keys.oldest_age) == 7

    replica.time.advance(EPOCH / 2 - 10)
    (only,) = (before := replica.directory()).keys
    assert (only, replica.changes) == (first, []), "the first key goes without saying"
    replica.time.advance(20)
    after = replica.directory()
    second = after.keys[-1]
    assert (after.keys, len(replica.changes)) == ((first, second), 1)
    assert after.sequence > before.sequence, "it is signed again, though the last one is new"
    assert (second.not_before, second.not_after) == (replica.now // 10 * 10, replica.now // 10 * 10 + EPOCH)
    assert (replica.keys.live, int(replica.keys.oldest_age)) == (2, EPOCH // 2 + 17)

    replica.time.advance(first.not_after + W - replica.time.clock.now())
    assert first not in replica.directory().keys
    assert replica.keys.find(first.key_id) is not None, "what a slow client sealed is still on its way"
    assert int(replica.keys.oldest_age) == EPOCH + W, "the most that there can be"
    replica.time.advance(0.001)
    assert replica.keys.find(first.key_id) is None
    assert replica.changes[-1] == replica.time.wall
    assert replica.keys.oldest_age < EPOCH


def test_some_announced_key_takes_an_exchange_at_any_moment(replica: Replica) -> None:
    seen = set()
    for _ in range(30):
        keys = replica.directory().keys
        assert any(key.takes(replica.now // 10 * 10) for key in keys)
        assert len(keys) <= 3
        seen |= {key.key_id for key in keys}
        replica.time.advance(397)
    assert len(seen) > 5
    replica.time.advance(10 * EPOCH)  # the machine slept
    (key,) = replica.directory().keys
    assert key.takes(replica.now // 10 * 10)


def test_directory_is_signed_again_after_thirty_seconds(replica: Replica) -> None:
    first = replica.directory()
    assert first.expires_at - first.issued_at == EPOCH
    replica.time.advance(29)
    assert replica.directory().signed == first.signed
    replica.time.advance(1)
    second = replica.directory()
    assert (second.sequence, second.issued_at) == (first.sequence + 1, first.issued_at + 30)


def test_every_directory_announces_the_next_identity() -> None:
    for announced in (b"", b"\x07" * 32):
        replica = Replica(next_identity_hash=announced)
        for _ in range(2):
            assert replica.directory().next_identity_hash == announced
            replica.time.advance(EPOCH)


async def test_keys_are_dropped_and_the_delegations_end_is_told_without_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch_keys, "_CHECK_EVERY", 0.001)
    replica = DelegatedReplica(tmp_path, days=1)
    keys = replica.keys(EPOCH)
    first = set(keys._keys)
    task = asyncio.create_task(keys.keep_current())
    replica.time.advance(EPOCH + W + 20)
    while not replica.noted or first & set(keys._keys):  # noqa: ASYNC110 (nobody is told)
        await asyncio.sleep(0.001)
    task.cancel()
