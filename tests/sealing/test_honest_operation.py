"""Honest operation, seen at any times by two clients of two relays, has no difference; a cheat in it has."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindrelay.trust import ForkedError, VerifiedDirectory, VerifiedKey, compare
from blindrelay.trust.comparison import Difference, Kind
from blindrelay.v1.keys_pb2 import SignedKeyDirectory

from ..trust.replicas import IDENTITY, NOW
from .world import EPOCH, Process, World


def differences(world: World) -> tuple[Difference, ...]:
    left, right = world.clients
    return compare({"left": left, "right": right}).differences


def kinds(world: World) -> set[Kind]:
    return {each.kind for each in differences(world)}


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_honest_operation_seen_at_any_times_has_no_difference(seed: int, replicas: int) -> None:
    world = World(seed, replicas)
    world.run(3 * 3_600)
    assert differences(world) == ()


@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_a_hidden_replica_amid_honest_operation_is_found(seed: int) -> None:
    world = World(seed, 2)
    thief = Process(1_000, NOW, 0)
    for _ in range(60):
        world.run(60)
        world.clients[0].directories.judge(thief.directory(world.now))
        world.fetch(1)
    assert kinds(world) == {Kind.REPLICA}


@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_a_key_shown_to_one_client_alone_is_found(seed: int) -> None:
    """By a thief of a replica's signing key, who numbers his directory as the next."""
    world = World(seed, 1)
    world.run(600)
    process = world.processes[0]
    honest = list(process.keys)
    process.keys.append(VerifiedKey(IDENTITY.public_key, bytes(16), b"", world.now, world.now + EPOCH))
    process.newest = None
    world.clients[0].directories.judge(process.directory(world.now))
    process.keys, process.newest = honest, None
    world.clients[1].directories.judge(process.directory(world.now + 60))
    assert Kind.KEY in kinds(world)


Cheat = Callable[[VerifiedDirectory], tuple[VerifiedDirectory, ...]]
"""From what a replica honestly states next: what one client is shown after it, and the other is not."""


def restated(said: VerifiedDirectory, **changes: Any) -> VerifiedDirectory:
    """With other bytes, since other things are said."""
    altered = replace(said, **changes)
    statement = said.statement + repr(changes).encode()
    return replace(altered, signed=SignedKeyDirectory(directory=statement).SerializeToString())


CHEATS: dict[Kind, Cheat] = {
    Kind.CONTRADICTION: lambda said: (restated(said, expires_at=said.expires_at + 1),),
    Kind.ORDER: lambda said: (restated(said, sequence=said.sequence + 1, issued_at=said.issued_at - 1),),
    Kind.SIGNER: lambda said: (restated(said, sequence=said.sequence + 1, signing_key=bytes(32)),),
    Kind.START: lambda said: (restated(said, sequence=said.sequence + 1, started_at=said.started_at + 1),),
    Kind.KEY: lambda said: (restated(said, sequence=said.sequence + 1, keys=()),),
    Kind.SUCCESSOR: lambda said: (
        restated(said, sequence=said.sequence + 1, next_identity_hash=bytes(32)),
        restated(said, sequence=said.sequence + 2),
    ),
    Kind.REPLICA: lambda said: tuple(
        restated(said, replica_id=bytes(16), sequence=number, issued_at=said.issued_at + at)
        for number, at in ((1, -7_200), (2, 7_200))
    ),
}


@pytest.mark.parametrize("kind", CHEATS)
@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(60, 360), st.integers(0, 1))
def test_each_cheat_amid_honest_operation_is_found(
    kind: Kind, seed: int, replicas: int, minutes: int, victim: int
) -> None:
    world = World(seed, replicas)
    world.run(minutes * 60)
    said = world.processes[0].directory(world.now + 60)
    world.clients[1 - victim].directories.judge(said)
    for each in CHEATS[kind](said):
        with suppress(ForkedError):
            world.clients[victim].directories.judge(each)
    world.clients[1 - victim].directories.judge(said)
    assert kind in kinds(world)


def test_the_simulation_does_what_it_is_for() -> None:
    """Restarts, rotations and late relays do occur, and clients are shown different things."""
    world = World(1, 3)
    world.run(3 * 3_600)
    assert world.count > 4
    assert any(len(process.keys) > 2 for process in world.processes)
    shown = [set(client.directories.shown) for client in world.clients]
    assert shown[0] != shown[1]
