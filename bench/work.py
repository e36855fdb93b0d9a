"""What one exchange asks for: sizes and pace. The provider reads it from the name of the model."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from typing import Final

_MODEL: Final = re.compile(rb'"model":\s*"(?:[a-z]+/)?w-([0-9.ex-]+)"')
LOOKED_AT: Final = 4_096
"""Bytes at either end of a body in which the name of the model is looked for."""


@dataclass(frozen=True)
class Work:
    """One chat completion.

    Attributes:
        prompt_bytes: of the user's message.
        pieces: of the response, each one server-sent event; 0 is a response in one JSON body.
        piece_bytes: of text in each piece, or in the whole response if it is not streamed.
        first_seconds: until the response begins.
        pieces_per_second: after that; 0 is as fast as possible.
    """

    prompt_bytes: int = 4_096
    pieces: int = 0
    piece_bytes: int = 32
    first_seconds: float = 0.0
    pieces_per_second: float = 0.0

    @property
    def model(self) -> str:
        """The name that says what to answer."""
        return "w-" + "x".join(
            f"{value:.12g}"
            for value in (self.pieces, self.piece_bytes, self.first_seconds, self.pieces_per_second)
        )

    def body(self) -> bytes:
        """The request's JSON body."""
        message = {"role": "user", "content": "x" * self.prompt_bytes}
        given = {"model": self.model, "messages": [message], "stream": self.pieces > 0}
        return json.dumps(given).encode()

    @classmethod
    def of(cls, body: bytes) -> Work:
        """What a request's body asks for, its prompt left out; a short response if it does not say."""
        found = _MODEL.search(body[:LOOKED_AT]) or _MODEL.search(body[-LOOKED_AT:])
        if found is None:
            return cls(prompt_bytes=0)
        pieces, size, first, rate = found[1].decode().split("x")
        return cls(0, int(float(pieces)), int(float(size)), float(first), float(rate))

    @classmethod
    def from_dict(cls, given: dict[str, float]) -> Work:
        """From JSON. Raises TypeError for an unknown name."""
        kinds = {field.name: int if field.type == "int" else float for field in fields(cls)}
        return cls(**{name: kinds[name](value) for name, value in given.items()})  # type: ignore[arg-type]
