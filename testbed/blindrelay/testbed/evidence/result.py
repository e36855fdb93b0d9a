"""What an evidence run has found, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from blindrelay.testbed.evidence.canaries import KINDS

PARTIES: Final = ("client", "relay", "ledger", "plain relay", "bridge")
RELAY: Final = "relay"
LEDGER: Final = "ledger"
BLIND: Final = (RELAY, LEDGER)
"""Who must have none of what is sealed."""

CONTROLS: Final = (
    ("client", "memory"),
    ("bridge", "memory"),
    ("bridge", "network"),
    ("plain relay", "memory"),
    ("plain relay", "network"),
)
"""Where every kind of canary has to be found, or the search was not able to find it."""

CRASH: Final = "crash dump"

_STRANGE: Final = "is not on the list"
_UNTIMELY: Final = "came when somebody asked"


@dataclass(frozen=True)
class Look:
    """One place of one party, and what was found there.

    Attributes:
        place: what it is, and when; the first word is "memory" or "network" for these.
        looked_at: bytes.
        found: how many canaries, by kind; kinds of which none was found are left out.
    """

    party: str
    place: str
    looked_at: int
    found: dict[str, int]


@dataclass(frozen=True)
class Rest:
    """Sealed bytes at the relay.

    Attributes:
        place: where, and when.
        samples: of so many stretches of 16 bytes, taken at random from what it had forwarded.
        left: so many were there.
        allowed: the share that may be there; None where it is only measured.
    """

    place: str
    samples: int
    left: int
    allowed: float | None

    @property
    def share(self) -> float:
        return self.left / self.samples if self.samples else 0.0


@dataclass(frozen=True)
class Trait:
    """Something that says who asks, and with whom it was found."""

    name: str
    known_to: str
    found_there: bool
    found_at_bridge: bool


@dataclass
class Evidence:
    """The whole.

    Attributes:
        exchanges: how many went through our relay.
        ends: how they ended.
        in_clear: how those through the relay that reads ended.
        canaries: how many were planted, by kind, in the exchanges through our relay.
        sealed_bytes: that our relay forwarded, both ways.
        facts: of the relay, beside what was searched: a sentence each, and whether it is as it should be.
        notes: what this machine did not let the run show.
        records: lines of the relay's log; strange_records: those that are not on the closed list;
            untimely_records: those that came when somebody asked, and not on the minute.
        counted: exchanges that its log counts, at most.
        machine: what it ran on.
        seconds: how long it took.
    """

    exchanges: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    in_clear: dict[str, int] = field(default_factory=dict)
    canaries: dict[str, int] = field(default_factory=dict)
    sealed_bytes: int = 0
    looks: list[Look] = field(default_factory=list)
    rests: list[Rest] = field(default_factory=list)
    traits: list[Trait] = field(default_factory=list)
    facts: list[tuple[str, bool]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    records: int = 0
    strange_records: list[str] = field(default_factory=list)
    untimely_records: list[str] = field(default_factory=list)
    counted: int = 0
    machine: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def kinds_found(self, party: str, place: str) -> set[str]:
        """The kinds of canaries that were found with a party, in places of which this is the beginning."""
        return {
            kind
            for look in self.looks
            if look.party == party and look.place.startswith(place)
            for kind in look.found
        }

    def most_found(self, party: str, kind: str) -> int:
        """How many canaries of a kind were found with a party, in the place with the most."""
        return max((look.found.get(kind, 0) for look in self.looks if look.party == party), default=0)

    @property
    def is_good(self) -> bool:
        return not self.leaks() and not self.weaknesses()

    def leaks(self) -> list[str]:
        """What should not have been found, a sentence each."""
        return [*self._leaks()]

    def weaknesses(self) -> list[str]:
        """Why the run could not have found a leak, a sentence each; then its silence proves nothing."""
        return [*self._weaknesses()]

    def _leaks(self) -> Iterator[str]:
        for look in self.looks:
            if look.party in BLIND and look.found:
                yield f"the {look.party}'s {look.place} holds {', '.join(look.found)}"
        for rest in self.rests:
            if rest.allowed is not None and rest.share > rest.allowed:
                yield f"{rest.share:.1%} of the sealed bytes are in the relay's {rest.place}"
        for trait in self.traits:
            if trait.found_at_bridge:
                yield f"the bridge knows the {trait.name}"
        for fact, holds in self.facts:
            if not holds:
                yield f"it is not so that {fact}"
        for records, what in (
            (self.strange_records, _STRANGE),
            (self.untimely_records, _UNTIMELY),
        ):
            yield from (f"the relay's log has a line that {what}: {record[:80]}" for record in records)

    def _weaknesses(self) -> Iterator[str]:
        for party, place in self._controls():
            missing = set(KINDS) - self.kinds_found(party, place)
            if missing:
                yield f"of {', '.join(sorted(missing))} nothing was found in the {party}'s {place}"
        for trait in self.traits:
            if not trait.found_there:
                yield f"the {trait.name} was not found with the {trait.known_to}, who knows it"
        if not self.traits:
            yield "nothing was looked for that says who asks"
        if self.counted < self.exchanges or not self.counted:
            yield f"the relay's log counts {self.counted} of {self.exchanges} exchanges"
        if not any(rest.samples for rest in self.rests):
            yield "no sealed bytes were looked for"
        if not any(look.party == LEDGER for look in self.looks):
            yield "the ledger was not looked at"
        if any(not look.looked_at for look in self.looks if look.place.startswith(("memory", "network"))):
            yield "there was nothing to look at in a memory or on a network"

    def _controls(self) -> Iterator[tuple[str, str]]:
        yield from CONTROLS
        if any((look.party, look.place) == ("plain relay", CRASH) for look in self.looks):
            yield "plain relay", CRASH  # else this machine makes no cores, or gives them to a program
