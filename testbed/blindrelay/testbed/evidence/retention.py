"""How much of the sealed bytes that it has forwarded a relay still holds."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from typing import Final

from blindrelay.testbed.evidence.forms import WINDOW, spellings
from blindrelay.testbed.evidence.search import Needles

SAMPLES: Final = 4_000
SAMPLE_SIZE: Final = 16
WRITTEN: Final = 500
"""Of them, so many are looked for in all their forms."""

BUFFERED: Final = 384 * 1024
ONE_IN: Final = 20
"""What may be left: the last that has passed, in buffers that connections keep, and a small part of the rest.

Measured are some 200 KiB, whatever has passed in all (docs/evidence.md).
"""

_WORTH_SAMPLING: Final = 4_096
"""Bytes of a flow; in shorter ones there is no exchange."""


class Samples:
    """Stretches of 16 bytes, taken at random from flows between relay and bridge: every place is as likely.

    Frames of HTTP/2 are a few bytes in a thousand of such a flow; the rest is sealed. What looks like text,
    or like a counter, is left out.
    """

    def __init__(self, flows: Collection[bytes]) -> None:
        self._samples = [*_samples([flow for flow in flows if len(flow) >= _WORTH_SAMPLING])]
        random.shuffle(self._samples)
        self.forwarded = sum(map(len, flows))

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def written(self) -> int:
        """How many written_in() looks for."""
        return min(WRITTEN, len(self))

    @property
    def allowed(self) -> float:
        """The share of them that may be left in memory."""
        return min(0.5, BUFFERED / max(1, self.forwarded) + 1 / ONE_IN)

    def found_in(self, pieces: Iterable[bytes]) -> int:
        """How many of them are there, as they are."""
        return _count(self._needles, pieces)

    def written_in(self, pieces: Iterable[bytes]) -> int:
        """How many of the first WRITTEN are there in any form, with 12 bytes in a row of it."""
        return _count(self._in_all_forms, pieces)

    @cached_property
    def _needles(self) -> Needles:
        return Needles({str(at): [each] for at, each in enumerate(self._samples)}, SAMPLE_SIZE)

    @cached_property
    def _in_all_forms(self) -> Needles:
        some = self._samples[:WRITTEN]
        return Needles({str(at): spellings(each) for at, each in enumerate(some)}, WINDOW)


def _samples(flows: Collection[bytes]) -> Iterator[bytes]:
    total = sum(map(len, flows))
    for flow in flows:
        for _ in range(SAMPLES * len(flow) // total):
            at = random.randrange(len(flow) - SAMPLE_SIZE)
            if _looks_sealed(sample := flow[at : at + SAMPLE_SIZE]):
                yield sample


def _looks_sealed(sample: bytes) -> bool:
    """Of random stretches all but one in thousands do."""
    return sum(32 <= byte < 127 for byte in sample) <= 12 and len(set(sample)) >= 12


def _count(needles: Needles, pieces: Iterable[bytes]) -> int:
    return len({name for data in pieces for name in needles.found_in(data)})
