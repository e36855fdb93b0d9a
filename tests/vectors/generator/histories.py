"""Scenarios of key directories: what one client fetches, step by step, and remembers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generator.directories import DAY, Step, delegation, directory, listed_config, listing, signed, step
from generator.fixed import IDENTITY, NOW, OTHER_KEM_KEY, key_config, public
from generator.primitives import encode
from generator.scenario import Scenario


def scenarios() -> Iterator[Scenario]:
    def history(name: str, comment: str, *steps: Step, **more: Any) -> Scenario:
        fields = {"identity": public(IDENTITY), "steps": list(steps)}
        return Scenario("directory", name, comment, steps[-1]["expect"], fields | more)

    first, second = listing(sequence=7), listing(sequence=8)
    renewed = signed(directory(sequence=8), delegation(not_after=NOW + 8 * DAY))
    split = listing(sequence=8, configs=[encode(key_config(OTHER_KEM_KEY))])
    older, newer = step(first, "accept"), step(second, "accept")
    other = step(listing(sequence=1, replica_id=b"\x33" * 16), "accept")
    yield history("rolled_back", "An older directory after a newer one.", newer, step(first, "rolled_back"))
    yield history("renewed", "A newer directory after an older one.", older, newer)
    yield history("served_twice", "The same bytes again.", newer, newer)
    comment = "The same directory, delegated anew."
    yield history("delegation_renewed", comment, newer, step(renewed, "accept"))
    yield history("another_replica", "Each replica counts for itself.", newer, other)
    comment, proof = "Two of one number: somebody has keys of his own.", [encode(second), encode(split)]
    yield history("per_client_config_detected", comment, newer, step(split, "forked"), proof=proof)
    later = [
        step(listing(sequence=sequence, configs=[listed_config(not_after=NOW)]), "forked")
        for sequence in (8, 6, 9)
    ]
    comment = "Nothing of a replica that contradicted itself is accepted; the first pair is the proof."
    yield history(
        "fork_after_fork",
        comment,
        newer,
        step(split, "forked"),
        *later,
        newer | {"expect": "forked"},
        proof=proof,
    )
    comment = "The others of the bridge stay valid."
    yield history("another_replica_after_fork", comment, newer, step(split, "forked"), other, proof=proof)
    large = [listing(sequence=(1 << 53) + more) for more in (0, 1)]
    comment = "Numbers that a double would take for one."
    yield history("sequence_beyond_2_53", comment, *(step(each, "accept") for each in large))
    comment = "The same, the other way round."
    back = [step(large[1], "accept"), step(large[0], "rolled_back")]
    yield history("rolled_back_beyond_2_53", comment, *back)
    comment = "One that is refused for its date moves nothing."
    yield history("refused_ones_are_not_remembered", comment, step(second, "stale", NOW + 3_600), older)
