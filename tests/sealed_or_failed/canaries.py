"""Random words for every place where an exchange has content, and a search for them in every form."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

from blindrelay.testbed.evidence.forms import WINDOW, spellings
from blindrelay.testbed.evidence.search import Needles


@dataclass(frozen=True)
class Canaries:
    """The words of one exchange: 40 letters and digits each, which JSON, URLs and headers do not escape."""

    body: str
    path: str
    query: str
    header: str
    model: str
    file_name: str
    key: str

    @classmethod
    def fresh(cls) -> Canaries:
        return cls(*(f"{field.name.replace('_', '')}{secrets.token_hex(20)}"[:40] for field in fields(cls)))

    def items(self) -> Iterator[tuple[str, str]]:
        for field in fields(self):
            yield field.name, getattr(self, field.name)

    def found_in(self, streams: Iterable[bytes]) -> set[str]:
        """The kinds of words of which one of the streams has a window, in any form."""
        needles = Needles({kind: spellings(word) for kind, word in self.items()}, WINDOW)
        return {kind for data in streams for kind in needles.found_in(data)}
