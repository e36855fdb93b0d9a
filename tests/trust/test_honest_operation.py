"""Two clients of two relays: honest operation has no difference, whenever they fetch."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from blindrelay.trust import compare
from blindrelay.trust.comparison import Kind

from .replicas import NOW
from .world import Process, World


def kinds(world: World) -> set[Kind]:
    left, right = world.clients
    return {each.kind for each in compare({"left": left, "right": right}).differences}


@settings(max_examples=50)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_honest_operation_has_no_difference(seed: int, replicas: int) -> None:
    world = World(seed, replicas)
    world.run(3 * 3_600)
    assert kinds(world) == set()


@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_replica_shown_to_one_client_is_found(seed: int) -> None:
    world = World(seed, 2)
    hidden = Process(1_000, NOW, 0)
    for _ in range(60):
        world.run(60)
        world.clients[0].directories.judge(hidden.directory(world.now))
        world.fetch(1)
    assert kinds(world) == {Kind.REPLICA}


def test_simulation_restarts_rotates_and_delays() -> None:
    world = World(1, 3)
    world.run(3 * 3_600)
    assert world.count > 4
    assert any(len(process.keys) > 2 for process in world.processes)
    first, second = (set(client.directories.shown) for client in world.clients)
    assert first != second
