"""What `blindrelay keys` prints: text or JSON."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from blindrelay.client.commands.keys.sources import Source
from blindrelay.trust import (
    ANNOUNCED_SECONDS,
    Comparison,
    VerifiedDirectory,
    VerifiedKey,
    format_identity,
    identity_groups,
)


def show_json(source: Source) -> dict[str, Any]:
    """The output of `keys show`. Times are Unix seconds; replicas and keys are named in hexadecimal."""
    history, announced = source.history, source.history.announcement
    return {
        "identity": format_identity(history.identity),
        "groups": identity_groups(history.identity).split(),
        "successors": [format_identity(each) for each in history.successors],
        "replicas": [_replica_json(each) for each in source.ring.directories],
        "refused": [str(refusal) for refusal in source.ring.refusals],
        "announcement": announced
        and {
            "next_identity_hash": announced.next_identity_hash.hex(),
            "since": announced.since,
            "stood": announced.stood,
        },
        "history": {
            "file": source.store.path and str(source.store.path),
            "directories": len(history.directories.shown),
            "since": _since(source),
            "contradictions": len(history.directories.proofs),
        },
    }


def show_text(source: Source) -> Iterator[str]:
    """The same as lines."""
    now, history = int(time.time()), source.history
    yield f"identity       {format_identity(history.identity)}"
    for label, line in zip(("by voice", ""), identity_groups(history.identity).splitlines(), strict=True):
        yield f"{label:<14} {line}"
    for successor in history.successors:
        yield f"successor      {format_identity(successor)}, accepted as announced: pin it"
    for directory in source.ring.directories:
        yield from _replica_text(directory, now)
    for refusal in source.ring.refusals:
        yield f"refused        {refusal}"
    yield f"next identity  {_announced_text(source)}"
    yield f"history        {_history_text(source, now)}"


def compare_json(sources: Iterable[Source], comparison: Comparison) -> dict[str, Any]:
    """The output of `keys compare`."""
    return {
        "sides": [
            {
                "name": source.name,
                "identity": format_identity(source.history.identity),
                "directories": len(source.history.directories.shown),
            }
            for source in sources
        ],
        "differences": [
            {"kind": each.kind.value, "replica_id": each.replica_id.hex(), "text": each.text}
            for each in comparison.differences
        ],
        "unsettled": [replica_id.hex() for replica_id in comparison.unsettled],
        "passing": comparison.passing,
    }


def compare_text(sources: Iterable[Source], comparison: Comparison) -> Iterator[str]:
    """The same as lines."""
    for source in sources:
        yield f"{source.name}: {_count(len(source.history.directories.shown), 'directory', 'directories')}"
    for each in comparison.differences:
        yield f"DIFFERENCE ({each.kind.value}): {each.text}"
    for replica_id in comparison.unsettled:
        name = replica_id.hex()[:8]
        yield f"undecided: replica {name} was shown to one side only, but not long enough to tell"
    if comparison.passing:
        replicas = _count(comparison.passing, "replica was", "replicas were")
        yield f"{replicas} shown to one side only, too briefly to tell: restarts leave a few, a thief many"
    if comparison.unsettled and not comparison.differences:
        yield "No difference found, but some replicas are undecided: compare again later."
    elif not comparison.differences:
        yield "No difference that honest operation cannot explain."


def _replica_json(directory: VerifiedDirectory) -> dict[str, Any]:
    return {
        "identity": format_identity(directory.identity),
        "replica_id": directory.replica_id.hex(),
        "sequence": directory.sequence,
        "started_at": directory.started_at,
        "issued_at": directory.issued_at,
        "expires_at": directory.expires_at,
        "next_identity_hash": directory.next_identity_hash.hex(),
        "keys": [_key_json(key) for key in directory.keys],
    }


def _key_json(key: VerifiedKey) -> dict[str, Any]:
    return {"key_id": key.key_id.hex(), "not_before": key.not_before, "not_after": key.not_after}


def _replica_text(directory: VerifiedDirectory, now: int) -> Iterator[str]:
    yield (
        f"replica        {directory.replica_id.hex()}, up for {_span(now - directory.started_at)}, directory "
        f"{directory.sequence} of {_span(now - directory.issued_at)} ago"
    )
    for key in directory.keys:
        begun, left = now - key.not_before, key.not_after - now
        age = f"began {_span(begun)} ago" if begun >= 0 else f"begins in {_span(-begun)}"
        end = f"ends in {_span(left)}" if left >= 0 else "over"
        yield f"  key          {key.key_id.hex()}, {age}, {end}"


def _announced_text(source: Source) -> str:
    announced = source.history.announcement
    if announced is None:
        return "none announced"
    return (
        f"hash {announced.next_identity_hash.hex()}, announced for {_span(announced.stood)} of "
        f"{_span(ANNOUNCED_SECONDS)}"
    )


def _history_text(source: Source, now: int) -> str:
    since, directories = _since(source), source.history.directories
    reach = "" if since is None else f", going back {_span(now - since)}"
    kept = _count(len(directories.shown), "directory", "directories")
    proofs = _count(len(directories.proofs), "contradiction", "contradictions")
    return f"{source.store.path or 'in memory only'}: {kept}{reach}, {proofs}"


def _since(source: Source) -> int | None:
    return min((each.issued_at for each in source.history.directories.shown), default=None)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _span(seconds: int) -> str:
    """The two largest units. Negative seconds, from a clock that is slightly off, count as 0 s."""
    seconds = max(0, seconds)
    days, hours, minutes = seconds // 86_400, seconds // 3_600 % 24, seconds // 60 % 60
    units = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds % 60, "s")]
    while len(units) > 1 and not units[0][0]:
        del units[0]
    largest, *rest = units[:2]
    return " ".join(f"{count} {unit}" for count, unit in [largest, *(each for each in rest if each[0])])
