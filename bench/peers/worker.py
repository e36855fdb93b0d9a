"""The process of a peer: repeats a case for a time, and reports how long one took.

Imports nothing but the standard library: peers live in an environment of their own.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import process_time
from typing import Any, Final

SIZES: Final = {"1 KiB": 1_024, "16 KiB": 16_384, "1 MiB": 1_048_576}
STREAM: Final = "stream of 256 records"

_RECORDS: Final = 256
_PIECE: Final = b"x" * 64


@dataclass(frozen=True)
class Case:
    """`work` is measured, without `prepare`, which makes its argument. One call does `units` things."""

    work: Callable[[Any], object]
    prepare: Callable[[], Any] = lambda: None
    units: int = 1


def exchanges(
    exchange: Callable[[bytes], None], stream: Callable[[bytes, bytes, int], None]
) -> dict[str, Case]:
    """The cases of a library that seals HTTP.

    `exchange` seals and opens a request with a body, and a response with the same body. `stream` does so with
    a body for the request, and a response of many pieces, each sealed alone.
    """
    bodies = {name: bytes(size) for name, size in SIZES.items()}
    cases = {name: Case(exchange, lambda body=body: body) for name, body in bodies.items()}  # type: ignore[misc]
    return {**cases, STREAM: Case(lambda _: stream(bodies["1 KiB"], _PIECE, _RECORDS))}


def serve(cases: Mapping[str, Case]) -> None:
    """Answers {"case": NAME, "seconds": S} a line with {"cpu_us": …, "count": …}, until stdin ends."""
    for line in sys.stdin:
        given = json.loads(line)
        sys.stdout.write(json.dumps(_repeat(cases[given["case"]], given["seconds"])) + "\n")
        sys.stdout.flush()


def _repeat(case: Case, seconds: float) -> dict[str, float]:
    case.work(case.prepare())
    gc.collect()
    spent, count = 0.0, 0
    while spent < seconds:
        made = case.prepare()
        began = process_time()
        case.work(made)
        spent += process_time() - began
        count += case.units
    return {"cpu_us": spent / count * 1e6, "count": count}
