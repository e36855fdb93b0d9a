"""An evidence run's result as one HTML page that needs no other file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from blindrelay.testbed.evidence.canaries import KINDS
from blindrelay.testbed.evidence.report import facts, verdict
from blindrelay.testbed.evidence.result import BLIND, PARTIES, Evidence
from blindrelay.testbed.html import render

Cell = tuple[object, str]
"""A text, and the class that gives it its colour: "lit", "nothing", "leak" or ""."""


def page(evidence: Evidence) -> str:
    """The page."""
    return render(
        Path(__file__).with_name("page.html"),
        evidence=evidence,
        verdict=verdict(evidence),
        canaries=[[(kind, ""), *_counts(evidence, kind)] for kind in KINDS],
        places=[
            [
                (f"{look.party}: {look.place}", ""),
                (f"{look.looked_at:,}", ""),
                _found(bool(look.found), ", ".join(look.found)),
            ]
            for look in evidence.looks
            if look.party in BLIND
        ],
        rests=[
            [(rest.place, ""), (f"{rest.samples:,}", ""), (f"{rest.left:,}", ""), (f"{rest.share:.1%}", "")]
            for rest in evidence.rests
        ],
        traits=[
            [
                (trait.name, ""),
                (f"{trait.known_to}: found", "lit")
                if trait.found_there
                else (f"{trait.known_to}: not found", "leak"),
                _found(trait.found_at_bridge, "found"),
            ]
            for trait in evidence.traits
        ],
        facts=facts(evidence),
    )


def _counts(evidence: Evidence, kind: str) -> Iterator[Cell]:
    for party in PARTIES:
        count = evidence.most_found(party, kind)
        mark = "lit" if count else ""
        if party in BLIND:
            mark = "leak" if count else "nothing"
        yield count, mark


def _found(leaked: bool, what: str) -> Cell:
    return (what, "leak") if leaked else ("nothing", "nothing")
