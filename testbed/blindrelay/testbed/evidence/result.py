"""What an evidence run has found, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from blindrelay.testbed.evidence.canaries import KINDS

PARTIES: Final = ("client", "relay", "plain relay", "bridge")
RELAY: Final = "relay"

MOST_LEFT: Final = 0.5
"""A larger share of the sealed bytes in the relay's memory at the end, and it keeps them: of what is only
freed, and not even written over, a quarter was left."""


@dataclass(frozen=True)
class Look:
    """One place of one party, and what was found there.

    Attributes:
        looked_at: bytes.
        found: how many canaries, by kind; kinds of which none was found are left out.
    """

    party: str
    place: str
    looked_at: int
    found: dict[str, int]


@dataclass(frozen=True)
class Rest:
    """Sealed bytes that the relay still held, so many seconds after the last exchange.

    Attributes:
        samples: of so many stretches of 16 bytes, taken at random from what it had forwarded.
        left: so many were in its memory.
    """

    seconds: float
    samples: int
    left: int


@dataclass(frozen=True)
class Trait:
    """Something that says who asks: how often it was found with those who know it, and at the bridge."""

    name: str
    known_to: str
    found_there: bool
    found_at_bridge: bool


@dataclass
class Evidence:
    """The whole.

    Attributes:
        exchanges: how many went through each relay.
        ends: how those through our relay ended.
        canaries: how many were planted, by kind, in the exchanges through our relay.
        facts: of the relay, beside what was searched: a sentence each, and whether it is as it should be.
        records: lines of the relay's log, and those that are against the closed list.
    """

    exchanges: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    canaries: dict[str, int] = field(default_factory=dict)
    looks: list[Look] = field(default_factory=list)
    rests: list[Rest] = field(default_factory=list)
    traits: list[Trait] = field(default_factory=list)
    facts: list[tuple[str, bool]] = field(default_factory=list)
    records: int = 0
    strange_records: list[str] = field(default_factory=list)
    machine: dict[str, str] = field(default_factory=dict)

    def kinds_found(self, party: str) -> set[str]:
        """The kinds of canaries that were found with a party, wherever."""
        return {kind for look in self.looks if look.party == party for kind in look.found}

    def leaks(self) -> list[str]:
        """What should not have been found, a sentence each."""
        return [*self._leaks()]

    def weaknesses(self) -> list[str]:
        """Why the run could not have found a leak, a sentence each; then its silence proves nothing."""
        return [*self._weaknesses()]

    def _leaks(self) -> Iterator[str]:
        for look in self.looks:
            if look.party == RELAY and look.found:
                yield f"the relay's {look.place} holds {', '.join(look.found)}"
        for trait in self.traits:
            if trait.found_at_bridge:
                yield f"the bridge knows the {trait.name}"
        for fact, holds in self.facts:
            if not holds:
                yield f"it is not so that {fact}"
        if self.rests and self.rests[-1].left > MOST_LEFT * self.rests[-1].samples:
            yield f"the relay keeps sealed bytes: {self.rests[-1].left} of {self.rests[-1].samples} samples"
        for record in self.strange_records:
            yield f"the relay's log has a line that is not on the list: {record[:80]}"

    def _weaknesses(self) -> Iterator[str]:
        for party in PARTIES:
            missing = set(KINDS) - self.kinds_found(party)
            if party != RELAY and missing:
                yield f"of {', '.join(sorted(missing))} nothing was found with the {party}, who knows it"
        for trait in self.traits:
            if not trait.found_there:
                yield f"the {trait.name} was not found with the {trait.known_to}, who knows it"
        if not any(rest.samples for rest in self.rests):
            yield "no sealed bytes were taken that could have been looked for"
        if not self.records:
            yield "the relay wrote no records that could have been judged"
