"""Canaries: unique words, one for every place of an exchange where there can be content."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

ASKED: Final = ("body", "URL path", "query", "header", "file name", "model name", "provider key")
"""Places in a request."""

ANSWERED: Final = ("answer", "error text", "tool call")
"""Places in a response. The provider makes these words from others, so that nobody has them before."""

KINDS: Final = (*ASKED, *ANSWERED)


@dataclass(frozen=True)
class Canaries:
    """The canaries of one exchange by kind, 40 letters and digits each."""

    words: dict[str, str]

    @classmethod
    def fresh(cls) -> Canaries:
        """New ones."""
        words = {kind: "c" + secrets.token_hex(20)[:39] for kind in ASKED}
        return cls(words | {kind: digested(f"{kind}{words['body']}") for kind in ANSWERED})

    def __getitem__(self, kind: str) -> str:
        return self.words[kind]


def digested(word: str) -> str:
    """What the scripted provider makes of a word when it is told to answer with its digest."""
    return hashlib.sha256(word.encode()).hexdigest()[:40]
