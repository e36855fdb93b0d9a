"""Scenarios of key directories that more than one reason refuses: the first of section 5's table counts."""

from __future__ import annotations

from collections.abc import Iterator

from generator.directories import DAY, HASH, Row, delegation, directory, each, listed_config, listing, signed
from generator.fixed import CONFIG, IDENTITY, NOW, STRANGER, WINDOW, public
from generator.scenario import Scenario


def scenarios() -> Iterator[Scenario]:
    yield from _signatures()
    yield from _forms()
    yield from _dates()


def _signatures() -> Iterator[Scenario]:
    cut = b"\x0a\x20abc"
    theirs = delegation(identity=public(STRANGER))
    foreign = signed(delegated=theirs, identity=IDENTITY)
    unsigned = signed(replica=STRANGER, identity=STRANGER)
    unreadable = signed(cut, replica=STRANGER)
    rows: dict[str, list[Row]] = {
        "foreign_identity": [
            ("foreign_and_unsigned", "Another bridge's delegation, which it did not sign.", foreign)
        ],
        "bad_delegation": [
            ("both_unsigned", "Neither delegation nor directory is signed by its key.", unsigned)
        ],
        "bad_signature": [("unsigned_and_unreadable", "A forged signature on no message.", unreadable)],
    }
    yield from _first(rows)


def _forms() -> Iterator[Scenario]:
    foreign = listing(identity=public(STRANGER), replica_id=bytes(15))
    usurped = listing(next_identity_hash=HASH, replica_id=bytes(15))
    short, other_suite = listed_config(public_key=bytes(1_215)), listed_config(suite=2)
    both = listed_config(suite=2, public_key=bytes(1_215))
    rows: dict[str, list[Row]] = {
        "foreign_identity": [
            ("foreign_and_malformed", "Another bridge's, with a short replica_id.", foreign)
        ],
        "malformed": [
            ("malformed_and_usurped", "A short replica_id, and a successor of its own.", usurped),
            (
                "short_key_before_suite",
                "The first bad config counts.",
                listing(configs=[CONFIG, short, other_suite]),
            ),
        ],
        "unknown_suite": [
            (
                "suite_before_short_key",
                "The first bad config counts.",
                listing(configs=[CONFIG, other_suite, short]),
            ),
            ("suite_and_short_key", "Nothing is known of another suite's keys.", listing(configs=[both])),
        ],
    }
    yield from _first(rows)


def _dates() -> Iterator[Scenario]:
    old, ahead = directory(issued_at=NOW - WINDOW - 1), directory(issued_at=NOW + WINDOW + 1)
    ended, early = delegation(not_after=NOW - 1), delegation(not_before=NOW + 2 * WINDOW + 2)
    usurped = signed(directory(issued_at=NOW - WINDOW - 1, next_identity_hash=HASH))
    unreadable = signed(directory(configs=[b"\x12\x05abc"]), ended)
    backwards = listing(issued_at=NOW - DAY, expires_at=NOW - 2 * DAY)
    rows: dict[str, list[Row]] = {
        "stale": [("stale_and_undelegated", "Too old, and its delegation has ended.", signed(old, ended))],
        "future": [("future_and_undelegated", "Dated ahead, before its delegation.", signed(ahead, early))],
        "bad_delegation": [
            ("usurped_and_stale", "A successor of its own, in a directory that is too old.", usurped),
            ("undelegated_and_unreadable", "An ended delegation, and a config that is none.", unreadable),
        ],
        "malformed": [("malformed_and_stale", "It expired before it was issued, long ago.", backwards)],
    }
    yield from _first(rows)


def _first(table: dict[str, list[Row]]) -> Iterator[Scenario]:
    for expect, rows in table.items():
        yield from each(expect, rows)
