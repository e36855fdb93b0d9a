"""The one kind of request that the page makes, and the words in its response."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final

from blindrelay.testbed.providers import ProviderKind

PATH: Final = "/v1/chat/completions"
URL: Final = f"https://api.openai.com{PATH}"

MAX_TOKENS: Final = 48

_PIECES_PER_SECOND: Final = 10
"""As a model would speak, so that a record holds a word."""


def chat(prompt: str, provider: ProviderKind) -> dict[str, Any]:
    """The request's body."""
    body = {
        "model": "model",
        "stream": True,
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
        "messages": [{"role": "user", "content": prompt}],
    }
    if provider == "scripted":
        body["scripted"] = {"pieces_per_second": _PIECES_PER_SECOND}
    return body


def words(line: str) -> str:
    """What one line of a streamed response says; nothing if it is not a piece of text."""
    with suppress(ValueError, LookupError, TypeError):
        return str(json.loads(line.removeprefix("data: "))["choices"][0]["delta"].get("content") or "")
    return ""


class Lines:
    """Puts lines together from pieces that end anywhere."""

    def __init__(self) -> None:
        self._rest = b""

    def whole(self, piece: bytes) -> list[str]:
        """The lines that this piece completes."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [line.decode(errors="replace").rstrip("\r") for line in lines]
