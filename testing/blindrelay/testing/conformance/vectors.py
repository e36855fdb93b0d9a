"""The questions about the vectors of spec/vectors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from blindrelay.testing.conformance.check import Check, equals
from blindrelay.testing.conformance.sealed_request import judge_of_request

Vector = dict[str, Any]

_CLONE: Final = Path(__file__).parents[4] / "spec" / "vectors"
_FRAME: Final = ("kind", "comment", "expect")


class VectorsError(Exception):
    """There are no vectors, or some that this kit does not know."""


def default_folder() -> Path:
    """The vectors of the clone in which this module is. Raises VectorsError if it is installed elsewhere."""
    if not _CLONE.is_dir():
        raise VectorsError(
            "the vectors are not installed with blindrelay: use --vectors with spec/vectors of a clone"
        )
    return _CLONE


def vector_checks(folder: Path) -> Iterator[Check]:
    """All checks of the vectors in a folder. Raises VectorsError."""
    files = sorted(path for path in folder.glob("*/*.json") if path.parent.name != "inputs")
    if not files:
        raise VectorsError(f"{folder} has no vectors")
    for path in files:
        vector = _read(path)
        yield from _CHECKS[vector["kind"]](f"{path.parent.name}/{path.stem}", vector)


def _read(path: Path) -> Vector:
    try:
        vector = json.loads(path.read_text("utf-8"))
    except ValueError:
        raise VectorsError(f"{path} is not a JSON file") from None
    if not isinstance(vector, dict) or vector.get("kind") not in _CHECKS:
        raise VectorsError(f"{path} is of a kind that this version does not know")
    return vector


def _asking(question: str, *answered: str, **more: str) -> Callable[[str, Vector], Iterator[Check]]:
    """Asks for the outcome and the fields `answered` of a vector; the program is given its other fields."""

    def checks(name: str, vector: Vector) -> Iterator[Check]:
        given = {key: value for key, value in vector.items() if key not in (*_FRAME, *answered)}
        added = {key: vector[source] for key, source in more.items()}
        expected = {key: vector[key] for key in answered if key in vector}
        yield Check(
            name, {"question": question, **added, **given}, equals(outcome=vector["expect"], **expected)
        )

    return checks


def _key(name: str, vector: Vector) -> Iterator[Check]:
    expected = {field: vector[field] for field in ("key_id", "not_before", "not_after") if field in vector}
    question = {"question": "key", "config": vector["config"]}
    yield Check(name, question, equals(outcome=vector["expect"], **expected))


def _directory(name: str, vector: Vector) -> Iterator[Check]:
    question = {
        "question": "directory",
        "identity": vector["identity"],
        "steps": _without_results(vector["steps"]),
    }
    outcomes = [step["expect"] for step in vector["steps"]]
    yield Check(name, question, equals(outcomes=outcomes, proof=vector.get("proof", [])))


def _claim(name: str, vector: Vector) -> Iterator[Check]:
    question = {"question": "claim", "attempts": _without_results(vector["attempts"])}
    yield Check(name, question, equals(outcomes=[attempt["expect"] for attempt in vector["attempts"]]))


def _without_results(steps: list[Vector]) -> list[Vector]:
    return [{key: value for key, value in step.items() if key != "expect"} for step in steps]


def _padding(name: str, vector: Vector) -> Iterator[Check]:
    question = {"question": "padding", "lengths": [case["length"] for case in vector["cases"]]}
    yield Check(name, question, equals(padded=[case["padded"] for case in vector["cases"]]))


def _sizes(name: str, vector: Vector) -> Iterator[Check]:
    """A request is given as its head and body, and cutting it is part of the question."""
    is_cut = "head" in vector
    given = ("direction", "head", "body") if is_cut else ("direction", "tunnel", "sent", "parts")
    question = {"question": "cut" if is_cut else "sizes", **{field: vector[field] for field in given}}
    yield Check(name, question, equals(records=vector["records"]))


def _cells(name: str, vector: Vector) -> Iterator[Check]:
    given = {key: vector[key] for key in ("exchange_secret", "envelope_hash", "records")}
    yield Check(name, {"question": "cells", **given}, equals(outcome=vector["expect"], parts=vector["parts"]))


def _tunnel_cells(name: str, vector: Vector) -> Iterator[Check]:
    given = {key: vector[key] for key in ("direction", "exchange_secret", "envelope_hash", "records")}
    question = {"question": "tunnel_cells", **given}
    yield Check(name, question, equals(outcome=vector["expect"], parts=vector["parts"]))


def _exchange(name: str, vector: Vector) -> Iterator[Check]:
    """Both directions are opened; then the program seals the same request, with a secret of its own."""
    given = {key: vector[key] for key in ("kem_seed", "config", "envelope", "encapsulated_secret")}
    records = {direction: vector[direction]["records"] for direction in ("request", "response")}
    messages = {key: vector[key] for key in ("request_message", "response_message")}
    yield Check(name, {"question": "exchange", **given, **records}, equals(**messages))
    sealing = {key: vector[key] for key in ("config", "envelope")}
    question = {"question": "seal", **sealing, "message": vector["request_message"]}
    yield Check(f"{name}, sealed", question, judge_of_request(vector))


def _rounding(name: str, vector: Vector) -> Iterator[Check]:
    """The coin, and the units of each case."""
    secret = {key: vector[key] for key in ("exchange_secret", "envelope_hash", "response_nonce")}
    cases = [{key: value for key, value in case.items() if key != "units"} for case in vector["cases"]]
    expected = {"coin": vector["coin"], "units": [case["units"] for case in vector["cases"]]}
    yield Check(name, {"question": "rounding", **secret, "cases": cases}, equals(**expected))


def _tunnel(name: str, vector: Vector) -> Iterator[Check]:
    """A tunnel's records follow from its key and its parts."""
    given = {key: value for key, value in vector.items() if key not in (*_FRAME, "records")}
    yield Check(name, {"question": "tunnel", **given}, equals(records=vector["records"]))


_CHECKS: Final[dict[str, Callable[[str, Vector], Iterator[Check]]]] = {
    "identity": _asking("identity", "identity"),
    "key": _key,
    "directory": _directory,
    "envelope": _asking("envelope", "envelope", "envelope_hash"),
    "encapsulation": _asking(
        "decapsulate", "envelope_hash", "info", "exchange_secret", "request_key", "response_key"
    ),
    "claim": _claim,
    "head": _asking("head"),
    "padding": _padding,
    "sizes": _sizes,
    "request": _asking("open", "parts", direction="kind"),
    "response": _asking("open", "parts", direction="kind"),
    "cells": _cells,
    "exchange": _exchange,
    "tunnel": _tunnel,
    "tunnel_cells": _tunnel_cells,
    "bill": _asking("bill"),
    "price_table": _asking("price_table"),
    "watermark": _asking("watermark"),
    "rounding": _rounding,
}
