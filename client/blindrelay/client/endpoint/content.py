"""What a request and its response said, for `--show-content`: in memory, and only the first bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

KEPT_BYTES: Final = 65_536
"""Bytes kept of each body. The fifty exchanges that are kept take 6.25 MiB in all."""

_LONGEST_CHARACTER: Final = 4
"""Bytes, in UTF-8."""


@dataclass
class Excerpt:
    """The first KEPT_BYTES bytes of a body.

    Attributes:
        size: bytes of the whole body.
    """

    size: int = 0
    _kept: bytearray = field(default_factory=bytearray, repr=False)

    def add(self, data: bytes) -> None:
        """Takes the body's next bytes."""
        self.size += len(data)
        self._kept += data[: KEPT_BYTES - len(self._kept)]

    @property
    def is_cut(self) -> bool:
        """Whether the body is longer than what is kept."""
        return self.size > len(self._kept)

    @property
    def text(self) -> str | None:
        """The kept bytes as text; None if they are not UTF-8."""
        kept = bytes(self._kept)
        for end in range(_LONGEST_CHARACTER if self.is_cut else 1):  # the last character may be cut
            try:
                text = kept[: len(kept) - end].decode()
            except UnicodeDecodeError:
                continue
            return None if "\0" in text else text
        return None


@dataclass
class Content:
    """One request as the program sent it, and its response. Headers are left out, since they carry keys.

    Attributes:
        method: GET for a WebSocket.
        url: the provider's, without its query: Google's API takes keys there.
        status: of the response; None before there is one.
    """

    method: str
    url: str
    status: int | None = None
    request_body: Excerpt = field(default_factory=Excerpt)
    response_body: Excerpt = field(default_factory=Excerpt)
