"""The responses of the scripted provider, in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from blindrelay.testing.dialects import Dialect, Usage
from blindrelay.testing.replies import Reply

_PIECE: Final = 65_536
"""Characters of one piece of text at most."""

_FILLER: Final = "\N{LOWER ONE EIGHTH BLOCK}"


@dataclass(frozen=True)
class Response:
    """A response before it is sent. Without a `length`, in bytes, it is sent in chunks."""

    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes]
    length: int | None = None


def json_response(value: object, reply: Reply) -> Response:
    """A JSON body. Its last byte is a piece of its own."""
    encoded = json.dumps(value).encode()
    headers = {"content-type": "application/json", **reply.headers}
    return Response(reply.status, headers, iter([encoded[:-1], encoded[-1:]]), len(encoded))


def whole_response(dialect: Dialect, reply: Reply, usage: Usage) -> Response:
    """A JSON body around a text, which may be many MiB."""
    before, _, after = json.dumps(dialect.whole(_FILLER, usage), ensure_ascii=False).partition(_FILLER)
    text = json.dumps(reply.text)[1:-1]
    pieces = [piece.encode() for piece in (before, *_blocks(text), after)]
    headers = {"content-type": "application/json", **reply.headers}
    return Response(reply.status, headers, iter(pieces), sum(map(len, pieces)))


def streamed_response(dialect: Dialect, reply: Reply, usage: Usage, *, told: bool) -> Response:
    """Server-sent events, one piece for each word; the first and the last carry the frame too.

    `told`: whether the last one tells the usage.
    """
    headers = {"content-type": "text/event-stream", **reply.headers}
    return Response(reply.status, headers, _events(dialect, reply.text, usage, told=told))


def _events(dialect: Dialect, text: str, usage: Usage, *, told: bool) -> Iterator[bytes]:
    words = _words(text)
    for number, word in enumerate(words, 1):
        before = dialect.opening(usage) if number == 1 else b""
        after = dialect.closing(text, usage if told else None) if number == len(words) else b""
        yield before + dialect.piece(word) + after


def _words(text: str) -> list[str]:
    first, *others = text.split(" ")
    words = [first, *(" " + word for word in others)]
    return [block for word in words for block in _blocks(word)]


def _blocks(text: str) -> list[str]:
    return [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)] or [""]
