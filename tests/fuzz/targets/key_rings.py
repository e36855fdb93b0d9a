"""What a client accepts from a hostile relay, fetch after fetch (sections 4.4 and 5)."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

from blindrelay.client.errors import KeyTrustError, RelayError
from blindrelay.client.key_ring import KeyRing
from blindrelay.trust import DirectoryError, DirectoryHistory, ForkedError, RolledBackError, VerifiedDirectory
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.keys_pb2 import SignedKeyDirectory

from ..statements import (
    GOOD_DIRECTORY,
    PINNED,
    SUCCESSOR_HASH,
    MadeDirectory,
    check_proof,
    directory_in,
    made_directory,
    vector_answers,
)
from ..tape import Tape, written
from ..target import Target, check
from ..vectors import NOW, every, raw

_LEAPS = (0, 10, 60, 301, 3_600, 86_400, 604_800, 604_801)
_SEVEN_DAYS = 604_800


def unsigned_directories(data: bytes) -> None:
    """Any bytes as what the relay serves: a key that is drawn is a vector's, which is signed."""
    ring = KeyRing(PINNED, clock=lambda: float(NOW))
    ring.take(data, ring.generation)
    drawn = ring.draw(NOW)
    check(drawn is None or drawn.config in _vector_configs(), "a signature cannot be made by chance")


def key_ring(data: bytes) -> None:
    """Several fetches: a drawn key belongs to the identity or to a successor announced long enough."""
    tape, now = Tape(data), [NOW]
    genuine: list[MadeDirectory] = []
    ring = KeyRing(PINNED, clock=lambda: float(now[0]))
    for _ in range(1 + tape.byte() % 5):
        now[0] += tape.choice(_LEAPS)
        fetched = [made_directory(tape, now[0]) for _ in range(tape.byte() % 4)]
        genuine += [each for each in fetched if each.genuine]
        response = GetKeyDirectoryResponse(directories=[each.message for each in fetched])
        with suppress(KeyTrustError, RelayError):
            ring.take(response.SerializeToString() + tape.chunk(), ring.generation - tape.byte() // 255)
        drawn = ring.draw(now[0] // 10 * 10)
        if drawn is not None:
            listed = any(
                drawn.config in each.said.configs and each.identity == drawn.identity for each in genuine
            )
            check(listed, "a key that its identity vouches for")
            check(drawn.identity == PINNED or _announced(genuine), "a successor was announced for seven days")
            check(drawn.takes(now[0] // 10 * 10), "a key takes its exchange")
            check(not ring.is_superseded(drawn), "a key that is listed is not superseded")
    for first, second in ring.proofs:
        check_proof(first, second)


def _announced(genuine: list[MadeDirectory]) -> bool:
    """Whether the pinned identity announced the successor for seven days."""
    times = [
        each.said.issued_at
        for each in genuine
        if each.identity == PINNED and each.said.next_identity_hash == SUCCESSOR_HASH
    ]
    return bool(times) and max(times) - min(times) >= _SEVEN_DAYS


def directory_history(data: bytes) -> None:
    """Any order of directories: no contradiction or older one is accepted, no honest replica accused."""
    tape, history = Tape(data), DirectoryHistory()
    accepted: dict[tuple[bytes, int], set[bytes]] = {}
    newest: dict[bytes, tuple[int, bytes, int]] = {}
    forked: set[bytes] = set()
    while not tape.spent:
        replica, sequence, said = tape.choice((b"a", b"b")), tape.byte() % 4, tape.choice((b"x", b"y"))
        ends = tape.byte()
        if tape.byte() % 16 == 0:
            history.forget_before(ends)
            newest = {name: seen for name, seen in newest.items() if seen[2] >= ends}
        before = newest.get(replica, (-1, said, 0))
        verdict = _judged(history, replica, sequence, said, ends)
        others = accepted.get((replica, sequence), {said}) - {said}
        if verdict is ForkedError:
            check(replica in forked or others, "a fork is two directories that were shown")
            forked.add(replica)
            continue
        check(replica not in forked, "a replica that forked is never trusted again")
        check(sequence != before[0] or said == before[1], "a fork is seen")
        check((verdict is RolledBackError) == (sequence < before[0]), "a rollback is seen, and nothing else")
        if verdict is None:
            newest[replica] = (sequence, said, ends)
            accepted.setdefault((replica, sequence), set()).add(said)
    check(len(history.proofs) == len(forked), "one proof for each fork")


def _judged(
    history: DirectoryHistory, replica: bytes, sequence: int, said: bytes, ends: int
) -> type[Exception] | None:
    verified = VerifiedDirectory(
        identity=PINNED,
        replica_id=replica,
        sequence=sequence,
        started_at=0,
        issued_at=0,
        expires_at=ends,
        next_identity_hash=b"",
        keys=(),
        signed=SignedKeyDirectory(directory=said).SerializeToString(),
    )
    try:
        history.judge(verified)
    except DirectoryError as error:
        return type(error)
    return None


@cache
def _vector_configs() -> frozenset[bytes]:
    steps = [step for each in every("directory") for step in each["steps"]]
    return frozenset(
        config
        for step in steps
        for config in directory_in(SignedKeyDirectory.FromString(raw(step["signed"]))).configs
    )


_TWO = written(0, 0, 2) + GOOD_DIRECTORY * 2 + written(b"", 0)
_ANNOUNCING = written(1, 2) + GOOD_DIRECTORY[1:] + written(b"", 0)
_SUCCEEDING = written(1, 1) + GOOD_DIRECTORY[1:] + written(b"", 0)


def _succession(leap: int) -> bytes:
    """A successor is announced, announced again after a leap, and there."""
    return written(2, 0) + _ANNOUNCING + written(leap) + _ANNOUNCING + written(1) + _SUCCEEDING


TARGETS = (
    Target("unsigned_directories", unsigned_directories, (KeyTrustError, RelayError), vector_answers, 16_384),
    Target("key_ring", key_ring, (), lambda: [_TWO, _succession(2), _succession(6)]),
    Target("directory_history", directory_history, (), lambda: [bytes(range(64))], 256),
)
