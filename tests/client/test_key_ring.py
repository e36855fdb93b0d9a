"""Which keys a client draws: only current ones, of replicas that are not leaving, from the newest fetch."""

from __future__ import annotations

from pathlib import Path

import pytest

from blindrelay.client.errors import KeyTrustError
from blindrelay.client.history_store import HistoryStore
from blindrelay.client.key_ring import KeyRing
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.keys_pb2 import SignedKeyDirectory

from ..trust.replicas import IDENTITY, KEYS, NOW, Replica


@pytest.fixture
def ring() -> KeyRing:
    return KeyRing(IDENTITY.public_key, lambda: NOW)


def fetch(ring: KeyRing, *signed: SignedKeyDirectory, generation: int | None = None) -> None:
    encoded = GetKeyDirectoryResponse(directories=signed).SerializeToString()
    ring.take(encoded, ring.generation if generation is None else generation)


def test_no_key_of_an_expired_directory_is_drawn() -> None:
    now = [NOW]
    ring = KeyRing(IDENTITY.public_key, lambda: now[0])
    fetch(ring, Replica().signed(NOW, expires_at=NOW + 60))
    now[0] = NOW + 60
    assert ring.draw(NOW + 60)
    now[0] = NOW + 61
    assert ring.draw(NOW + 60) is None


def test_key_is_drawn_for_its_span_only(ring: KeyRing) -> None:
    fetch(ring, Replica().signed(NOW))
    assert [offset for offset in (-610, -600, 3_000, 3_010) if ring.draw(NOW + offset)] == [-600, 3_000]


def test_contradicting_directories_are_both_refused(ring: KeyRing) -> None:
    liar, honest = Replica(1), Replica(2)
    fetch(ring, liar.signed(), honest.signed(), liar.signed(sequence=1, expires_at=NOW + 60))
    assert [each.replica_id for each in ring.directories] == [honest.content["replica_id"]]
    assert len(ring.proofs) == 1


def test_no_key_of_a_leaving_replica_is_drawn(ring: KeyRing) -> None:
    leaving, staying = Replica(1), Replica(2)
    fetch(ring, leaving.signed(NOW))
    key = ring.draw(NOW)
    assert key is not None
    ring.leave(key)
    assert ring.draw(NOW) is None
    fetch(ring, leaving.signed(NOW + 1), staying.signed(NOW, configs=[KEYS[1].config]))
    assert {ring.draw(NOW) for _ in range(20)} == {*ring.directories[1].keys}


def test_overtaken_fetch_is_dropped(ring: KeyRing) -> None:
    began = ring.generation
    newer = Replica(1).signed(NOW)
    fetch(ring, newer)
    before = ring.directories
    fetch(ring, Replica(2).signed(NOW - 60), generation=began)
    assert ring.directories == before


def test_file_of_another_process_does_not_excuse_a_rollback(tmp_path: Path) -> None:
    """Another process may have used a slower relay, but this one has seen the newer directory itself."""
    replica, key, path = Replica(1), IDENTITY.public_key, tmp_path / "history"
    older, newer = replica.signed(NOW - 60), replica.signed(NOW)
    ring, other = (KeyRing(key, lambda: NOW, HistoryStore(key, path)) for _ in range(2))
    fetch(ring, newer)
    fetch(other, Replica(2).signed(NOW))
    with pytest.raises(KeyTrustError, match="older key directory"):
        fetch(ring, older)
