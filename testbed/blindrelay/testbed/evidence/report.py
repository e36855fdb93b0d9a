"""An evidence run's result as text for a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from blindrelay.testbed.evidence.canaries import KINDS
from blindrelay.testbed.evidence.result import BLIND, PARTIES, Evidence


def as_json(evidence: Evidence) -> dict[str, Any]:
    """The whole, and what follows from it."""
    return {
        **asdict(evidence),
        "leaks": evidence.leaks(),
        "weaknesses": evidence.weaknesses(),
        "verdict": verdict(evidence),
    }


def verdict(evidence: Evidence) -> str:
    """One sentence."""
    if evidence.leaks():
        return "The relay or its ledger holds what it must not."
    if evidence.weaknesses():
        return "The run was powerless: it did not find what was there, so its silence proves nothing."
    return (
        "Nothing of any exchange was found at the relay or its ledger, and everything with those who have it."
    )


def facts(evidence: Evidence) -> list[tuple[str, bool]]:
    """Facts about the relay besides the searches: a sentence each, and whether it holds."""
    return [
        *evidence.facts,
        (f"all {evidence.records} lines of its log are of the closed list", not evidence.strange_records),
        ("they came on the minute, or say what no caller can cause", not evidence.untimely_records),
    ]


def lines(evidence: Evidence) -> Iterator[str]:
    """The report."""
    yield (
        f"{evidence.exchanges} exchanges through the relay, as many through one that reads, "
        "with a word of its own in each place"
    )
    yield ""
    yield from _table(evidence)
    yield ""
    yield "Where the relay and its ledger were looked at:"
    for look in evidence.looks:
        if look.party in BLIND:
            found = ", ".join(f"{kind}: {count}" for kind, count in look.found.items()) or "nothing"
            yield f"  {look.party:6} {look.place:32} {look.looked_at:>13,} bytes   {found}"
    yield ""
    yield "Sealed bytes that the relay still held:"
    for rest in evidence.rests:
        yield f"  {rest.place:46} {rest.left:5} of {rest.samples} samples {rest.share:6.1%}"
    yield ""
    yield "Who asks:"
    for trait in evidence.traits:
        known = "found" if trait.found_there else "NOT FOUND"
        at_bridge = "FOUND" if trait.found_at_bridge else "nothing"
        yield f"  {trait.name:24} with the {trait.known_to:8} {known:10} with the bridge: {at_bridge}"
    yield ""
    for fact, holds in facts(evidence):
        yield f"  {'yes' if holds else 'NO '}  {fact}"
    yield ""
    yield from (f"LEAK: {each}" for each in evidence.leaks())
    yield from (f"POWERLESS: {each}" for each in evidence.weaknesses())
    yield verdict(evidence)


def _table(evidence: Evidence) -> Iterator[str]:
    """Kinds of canaries, and with whom they were found."""
    yield f"{'canaries found':16}" + "".join(f"{party:>14}" for party in PARTIES)
    for kind in KINDS:
        yield f"{kind:16}" + "".join(f"{evidence.most_found(party, kind):>14}" for party in PARTIES)
    yield ""
    yield "A canary is a word that nobody else says. Each exchange has its own in each of these places."
    yield "A figure says how many were found with a party, in the place where there were the most."
    yield "The relay and its ledger must have none. The others' figures show that the search finds them."
