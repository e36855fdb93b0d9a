"""Keeps the few inputs that reach something new: python -m tests.fuzz.distil [TARGET…]

It chooses from the kept inputs and those of the last runs: first the input that adds most to what the seeds
reach. Reach is each step from one line of blindrelay to the next, and roughly how often it is taken.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any, Final

from .registry import TARGETS
from .run import KEPT, WORK
from .target import Target

MAX_FILES: Final = 40
MAX_BYTES: Final = 61_440
"""Bytes for one target. Everyone who clones the repository fetches them."""

Step = tuple[str, int, int]
Reach = set[tuple[Step, int]]


def reach_of(target: Target, data: bytes) -> Reach:
    """The steps that an input takes, each with the bit length of its count."""
    taken: Counter[Step] = Counter()

    def enter(frame: FrameType, event: str, _: Any) -> Any:
        file = frame.f_code.co_filename
        if "/blindrelay/" not in file:
            return None
        before = frame.f_code.co_firstlineno

        def line(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal before
            taken[file, before, frame.f_lineno] += 1
            before = frame.f_lineno
            return line

        return line

    sys.settrace(enter)
    try:
        target(data)
    finally:
        sys.settrace(None)
    return {(step, count.bit_length()) for step, count in taken.items()}


def distilled(target: Target, inputs: Iterable[bytes]) -> list[bytes]:
    """The inputs worth keeping beside the seeds, within the limits."""
    known: Reach = set().union(*(reach_of(target, seed) for seed in target.seeds()))
    left = {data: reach_of(target, data) - known for data in sorted(set(inputs), key=len)}
    kept: list[bytes] = []
    while len(kept) < MAX_FILES and (left := {data: news for data, news in left.items() if news}):
        best = max(left, key=lambda data: len(left[data]))
        news = left.pop(best)
        if sum(map(len, kept)) + len(best) <= MAX_BYTES:
            kept.append(best)
            left = {data: reach - news for data, reach in left.items()}
    return kept


def _read(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.iterdir()] if folder.is_dir() else []


def main() -> None:
    logging.disable()
    for target in TARGETS:
        if sys.argv[1:] and target.name not in sys.argv[1:]:
            continue
        folder = KEPT / target.name
        kept = distilled(target, _read(folder) + _read(WORK / target.name / "new"))
        if folder.is_dir():
            shutil.rmtree(folder)
        for data in kept:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)
        print(f"{target.name:22}{len(kept):>4} files{sum(map(len, kept)):>8,} bytes")


if __name__ == "__main__":
    main()
