"""Scenarios of key directories: what one client fetches, step by step, and remembers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generator.directories import DAY, Step, delegation, directory, listed_config, listing, signed, step
from generator.fixed import IDENTITY, NOW, OTHER_KEM_KEY, key_config, public
from generator.primitives import encode
from generator.scenario import Scenario

FIRST, SECOND = listing(sequence=7), listing(sequence=8)
OLDER, NEWER = step(FIRST, "accept"), step(SECOND, "accept")
OTHER_REPLICA = step(listing(sequence=1, replica_id=b"\x33" * 16), "accept")


def scenarios() -> Iterator[Scenario]:
    yield from _sequences()
    yield from _forks()
    yield from _large_numbers()


def _history(name: str, comment: str, *steps: Step, **more: Any) -> Scenario:
    fields = {"identity": public(IDENTITY), "steps": list(steps)}
    return Scenario("directory", name, comment, steps[-1]["expect"], fields | more)


def _sequences() -> Iterator[Scenario]:
    comment = "An older directory after a newer one."
    yield _history("rolled_back", comment, NEWER, step(FIRST, "rolled_back"))
    yield _history("renewed", "A newer directory after an older one.", OLDER, NEWER)
    yield _history("served_twice", "The same bytes again.", NEWER, NEWER)
    renewed = signed(directory(sequence=8), delegation(not_after=NOW + 8 * DAY))
    comment = "The same directory under a new delegation."
    yield _history("delegation_renewed", comment, NEWER, step(renewed, "accept"))
    yield _history("another_replica", "Each replica counts for itself.", NEWER, OTHER_REPLICA)
    comment = "One that is refused for its date moves nothing."
    yield _history("refused_ones_are_not_remembered", comment, step(SECOND, "stale", NOW + 3_600), OLDER)


def _forks() -> Iterator[Scenario]:
    other = listing(sequence=8, configs=[encode(key_config(OTHER_KEM_KEY))])
    split, proof = step(other, "forked"), [encode(SECOND), encode(other)]
    comment = "Two of one number: somebody has keys of his own."
    yield _history("per_client_config_detected", comment, NEWER, split, proof=proof)
    third = [listing(sequence=sequence, configs=[listed_config(not_after=NOW)]) for sequence in (8, 6, 9)]
    later = [step(each, "forked") for each in (*third, SECOND)]
    comment = "Nothing of a replica that contradicted itself is accepted; the first pair is the proof."
    yield _history("fork_after_fork", comment, NEWER, split, *later, proof=proof)
    comment = "The others of the bridge stay valid."
    yield _history("another_replica_after_fork", comment, NEWER, split, OTHER_REPLICA, proof=proof)


def _large_numbers() -> Iterator[Scenario]:
    small, large = (listing(sequence=(1 << 53) + more) for more in (0, 1))
    comment = "Numbers that a double would take for one."
    yield _history("sequence_beyond_2_53", comment, step(small, "accept"), step(large, "accept"))
    comment = "The same, the other way round."
    yield _history("rolled_back_beyond_2_53", comment, step(large, "accept"), step(small, "rolled_back"))
