"""What an exchange said, for `blindrelay proxy --show-content`: in memory, and only the beginning of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

KEPT_BYTES: Final = 65_536
"""Bytes of each direction of an exchange; with the fifty that are kept, 6.25 MiB in all."""

_LONGEST_CHARACTER: Final = 4
"""Bytes, in UTF-8."""


@dataclass
class Excerpt:
    """The first KEPT_BYTES bytes of something longer.

    Attributes:
        size: bytes that there were in all.
    """

    size: int = 0
    _kept: bytearray = field(default_factory=bytearray, repr=False)

    def add(self, piece: bytes) -> None:
        """Takes the next piece, of any size."""
        self.size += len(piece)
        self._kept += piece[: KEPT_BYTES - len(self._kept)]

    @property
    def is_cut(self) -> bool:
        """Whether not all of it was kept."""
        return self.size > len(self._kept)

    @property
    def text(self) -> str | None:
        """What is kept, or None if it is no text in UTF-8."""
        kept = bytes(self._kept)
        for end in range(_LONGEST_CHARACTER if self.is_cut else 1):  # a character may be cut through
            try:
                text = kept[: len(kept) - end].decode()
            except UnicodeDecodeError:
                continue
            return None if "\0" in text else text
        return None


@dataclass
class Content:
    """One request as the program sent it, and its response as the program got it. No headers: keys are there.

    Attributes:
        method: GET for a WebSocket.
        url: the provider's, without its query: Google's API takes keys there.
        status: of the response; None before there is one.
    """

    method: str
    url: str
    status: int | None = None
    request: Excerpt = field(default_factory=Excerpt)
    response: Excerpt = field(default_factory=Excerpt)
