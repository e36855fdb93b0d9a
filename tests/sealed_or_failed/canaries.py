"""Words that nobody else says, for every place where an exchange has content, in every form."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

from blindrelay.testbed.evidence.forms import WINDOW, spellings
from blindrelay.testbed.evidence.search import Needles


@dataclass(frozen=True)
class Canaries:
    """One exchange's; each is 40 letters and digits, so that JSON, URLs and headers leave it as it is."""

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
        """The kinds of which a window is in one of the streams, in whatever form."""
        needles = Needles({kind: spellings(word) for kind, word in self.items()}, WINDOW)
        return {kind for data in streams for kind in needles.found_in(data)}
