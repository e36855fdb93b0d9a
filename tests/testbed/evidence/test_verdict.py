"""What an evidence run concludes from what it found, and how it says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from blindrelay.testbed.evidence.canaries import KINDS
from blindrelay.testbed.evidence.page import page
from blindrelay.testbed.evidence.report import as_json, lines
from blindrelay.testbed.evidence.result import CONTROLS, CRASH, LEDGER, RELAY, Evidence, Look, Rest, Trait


def as_it_should_be() -> Evidence:
    everything = dict.fromkeys(KINDS, 1)
    return Evidence(
        exchanges=1,
        looks=[
            Look(RELAY, "memory, in flight", 1, {}),
            Look(LEDGER, "memory, in flight", 1, {}),
            *(Look(party, f"{place}, here", 1, {**everything}) for party, place in CONTROLS),
        ],
        rests=[Rest("memory, later", 100, 5, 0.1), Rest("log", 100, 0, 0.0)],
        traits=[Trait("token", RELAY, found_there=True, found_at_bridge=False)],
        facts=[("it is so", True)],
        records=3,
        counted=10,
    )


def test_verdict_on_a_relay_that_holds_nothing() -> None:
    evidence = as_it_should_be()
    assert evidence.is_good
    assert (evidence.leaks(), evidence.weaknesses()) == ([], [])
    assert "Nothing of any exchange was found" in "\n".join(lines(evidence))
    assert "Nothing of any exchange was found" in page(evidence)


LEAKS: dict[str, Callable[[Evidence], object]] = {
    "a word in the books": lambda found: found.looks.append(Look(LEDGER, "books", 1, {"model name": 1})),
    "a word": lambda found: found.looks.append(Look(RELAY, "log", 1, {"model name": 1})),
    "too many sealed bytes": lambda found: found.rests.append(Rest("memory", 100, 11, 0.1)),
    "a sealed byte in the log": lambda found: found.rests.append(Rest("log", 100, 1, 0.0)),
    "who asks": lambda found: found.traits.append(replace(found.traits[0], found_at_bridge=True)),
    "a fact": lambda found: found.facts.append(("nothing is written", False)),
    "a record": lambda found: found.strange_records.append("something else"),
    "a record's time": lambda found: found.untimely_records.append("something of the list"),
}


WEAKNESSES: dict[str, Callable[[Evidence], object]] = {
    "no counts": lambda found: setattr(found, "counted", 0),
    "too few counts": lambda found: setattr(found, "exchanges", 11),
    "no ledger": lambda found: found.looks.pop(1),
    "no traits": lambda found: found.traits.clear(),
    "a trait that nobody has": lambda found: found.traits.append(Trait("locale", "client", False, False)),
    "no samples": lambda found: found.rests.clear(),
    "an empty memory": lambda found: found.looks.append(Look(RELAY, "memory, later", 0, {})),
    "a core without words": lambda found: found.looks.append(Look("plain relay", CRASH, 9, {})),
}


def without(kind: str, party: str, place: str) -> Callable[[Evidence], object]:
    """One who has the words has none of this kind."""

    def change(evidence: Evidence) -> None:
        look = next(each for each in evidence.looks if (each.party, each.place) == (party, f"{place}, here"))
        look.found.pop(kind)

    return change


WEAKNESSES |= {
    f"no {kind} at {party}, {place}": without(kind, party, place)
    for party, place in CONTROLS
    for kind in KINDS
}


@pytest.mark.parametrize("what", [*LEAKS, *WEAKNESSES])
def test_leak_or_weakness_fails_the_run(what: str) -> None:
    evidence = as_it_should_be()
    (LEAKS | WEAKNESSES)[what](evidence)
    assert (len(evidence.leaks()), len(evidence.weaknesses())) == ((1, 0) if what in LEAKS else (0, 1))
    assert not evidence.is_good
    verdict = "The relay or its ledger holds what it must not." if what in LEAKS else "powerless"
    assert verdict in str(as_json(evidence)["verdict"])
    assert verdict in page(evidence)


def test_page_is_one_file_and_escapes_its_values() -> None:
    evidence = as_it_should_be()
    evidence.strange_records.append("<script>")
    html = page(evidence)
    assert "<script" not in html
    assert "http" not in html.replace("HTTP", "")
    assert json.loads(json.dumps(as_json(evidence)))["strange_records"] == ["<script>"]
