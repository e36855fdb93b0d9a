"""The exchanges of an evidence run: what an application asks, with canaries wherever there can be content."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import quote

from blindrelay.testbed.evidence.canaries import Canaries

ORIGIN: Final = "https://api.openai.com"
MODELS: Final = "https://models.blindrelay.internal"
"""Where the bridge finds the provider by the model's name."""

MAX_REQUEST: Final = 131_072
"""Bytes that the bridge is told to take, so that one exchange can be over the limit without being large."""

_FILLER: Final = "and so on, as people do, at length; " * 30

Request = dict[str, Any]
"""method, url, headers, content (text), how: "whole", "streamed", "left" after a piece, "held" at a gate."""


def requests(canaries: Canaries) -> Iterator[Request]:
    """One of each kind, all with the same canaries."""
    for kind in _KINDS:
        yield _headed(kind(canaries), canaries)


def held(canaries: Canaries, gate: str) -> Iterator[Request]:
    """One of each kind whose response begins, and ends when the gate of the provider is released."""
    for request in (
        _chat(canaries, stream=True, hold=gate),
        _tools(canaries, hold=gate),
        _error(canaries, hold=gate),
        _file(canaries, hold=gate),
        _path(canaries, hold=gate),
    ):
        yield _headed({**request, "how": "held"}, canaries)


def _headed(request: Request, canaries: Canaries) -> Request:
    headers = {
        "authorization": f"Bearer {canaries['provider key']}",
        "openai-beta": canaries["header"],
        "content-type": "application/json",
    }
    return {"how": "whole", **request, "headers": headers | request.get("headers", {})}


def _chat(canaries: Canaries, *, stream: bool = False, filler: int = 0, **script: Any) -> Request:
    body = {
        "model": canaries["model name"],
        "stream": stream,
        "messages": [{"role": "user", "content": _prompt(canaries["body"], filler)}],
        "scripted": {"digest": f"answer{canaries['body']}", **script},
    }
    return {
        "method": "POST",
        "url": f"{ORIGIN}/v1/chat/completions?after={canaries['query']}",
        "content": json.dumps(body),
        "how": "streamed" if stream else "whole",
    }


def _prompt(word: str, filler: int) -> str:
    """The word, and at least so many bytes, with the word in each kilobyte of them."""
    return " ".join([word] + [_FILLER + word] * -(-filler // len(_FILLER)))


def _streamed(canaries: Canaries) -> Request:
    return _chat(canaries, stream=True)


def _left(canaries: Canaries) -> Request:
    return {**_chat(canaries, stream=True), "how": "left"}


def _tools(canaries: Canaries, **script: Any) -> Request:
    return _chat(canaries, tool=f"tool call{canaries['body']}", **script)


def _error(canaries: Canaries, **script: Any) -> Request:
    return _chat(canaries, status=429, **{**script, "digest": f"error text{canaries['body']}"})


def _large(canaries: Canaries) -> Request:
    return _chat(canaries, filler=MAX_REQUEST * 2 // 3)


def _over_the_limit(canaries: Canaries) -> Request:
    return _chat(canaries, filler=MAX_REQUEST)


def _file(canaries: Canaries, **script: Any) -> Request:
    form = (
        f'--b\r\ncontent-disposition: form-data; name="file"; filename="{canaries["file name"]}"\r\n\r\n'
        f"{canaries['body']}\r\n--b--\r\n"
    )
    return {
        "method": "POST",
        "url": f"{ORIGIN}/v1/audio/transcriptions{_scripted(script)}",
        "headers": {"content-type": "multipart/form-data; boundary=b"},
        "content": form,
    }


def _by_name(canaries: Canaries) -> Request:
    request = _chat(canaries)
    return {**request, "url": request["url"].replace(ORIGIN, MODELS)}


def _path(canaries: Canaries, **script: Any) -> Request:
    url = f"{ORIGIN}/v1/models/{canaries['URL path']}{_scripted(script)}"
    return {"method": "GET", "url": url, "content": ""}


def _scripted(script: dict[str, Any]) -> str:
    return f"?scripted={quote(json.dumps(script))}" if script else ""


def _refused(canaries: Canaries) -> Request:
    return {
        "method": "PATCH",
        "url": f"{ORIGIN}/v1/files/{canaries['URL path']}",
        "content": canaries["body"],
    }


_KINDS: Final[tuple[Callable[[Canaries], Request], ...]] = (
    _chat,
    _by_name,
    _streamed,
    _left,
    _tools,
    _error,
    _file,
    _path,
    _refused,
    _large,
    _over_the_limit,
)
