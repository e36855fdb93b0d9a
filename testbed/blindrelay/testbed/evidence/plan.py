"""The exchanges of an evidence run: what an application asks, with canaries wherever there can be content."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from blindrelay.testbed.evidence.canaries import Canaries

ORIGIN: Final = "https://api.openai.com"

Request = dict[str, Any]
"""method, url, headers, content (text), how: "whole", "streamed", "left" after a piece, "held" at a gate."""


def requests(canaries: Canaries) -> Iterator[Request]:
    """One of each kind, all with the same canaries."""
    for kind in _KINDS:
        yield _headed(kind(canaries), canaries)


def held(canaries: Canaries, gate: str) -> Request:
    """A stream that has begun, and ends when the gate of the provider is released."""
    return _headed({**_chat(canaries, stream=True, hold=gate), "how": "held"}, canaries)


def _headed(request: Request, canaries: Canaries) -> Request:
    headers = {
        "authorization": f"Bearer {canaries['provider key']}",
        "openai-beta": canaries["header"],
        "content-type": "application/json",
    }
    return {"how": "whole", **request, "headers": headers | request.get("headers", {})}


def _chat(canaries: Canaries, *, stream: bool = False, **script: Any) -> Request:
    body = {
        "model": canaries["model name"],
        "stream": stream,
        "messages": [{"role": "user", "content": canaries["body"]}],
        "scripted": {"digest": f"answer{canaries['body']}", **script},
    }
    return {
        "method": "POST",
        "url": f"{ORIGIN}/v1/chat/completions?after={canaries['query']}",
        "content": json.dumps(body),
        "how": "streamed" if stream else "whole",
    }


def _streamed(canaries: Canaries) -> Request:
    return _chat(canaries, stream=True)


def _left(canaries: Canaries) -> Request:
    return {**_chat(canaries, stream=True), "how": "left"}


def _tools(canaries: Canaries) -> Request:
    return _chat(canaries, tool=f"tool call{canaries['body']}")


def _error(canaries: Canaries) -> Request:
    return _chat(canaries, status=429, digest=f"error text{canaries['body']}")


def _large(canaries: Canaries) -> Request:
    request = _chat(canaries)
    body = json.loads(request["content"])
    body["messages"][0]["content"] = " ".join([canaries["body"]] * 2_000)
    return {**request, "content": json.dumps(body)}


def _over_the_limit(canaries: Canaries) -> Request:
    request = _chat(canaries)
    body = json.loads(request["content"]) | {"user": canaries["body"] * 7_000}
    return {**request, "content": json.dumps(body)}


def _file(canaries: Canaries) -> Request:
    form = (
        f'--b\r\ncontent-disposition: form-data; name="file"; filename="{canaries["file name"]}"\r\n\r\n'
        f"{canaries['body']}\r\n--b--\r\n"
    )
    return {
        "method": "POST",
        "url": f"{ORIGIN}/v1/audio/transcriptions",
        "headers": {"content-type": "multipart/form-data; boundary=b"},
        "content": form,
    }


def _path(canaries: Canaries) -> Request:
    return {"method": "GET", "url": f"{ORIGIN}/v1/models/{canaries['URL path']}", "content": ""}


def _refused(canaries: Canaries) -> Request:
    return {
        "method": "PATCH",
        "url": f"{ORIGIN}/v1/files/{canaries['URL path']}",
        "content": canaries["body"],
    }


_KINDS: Final[tuple[Callable[[Canaries], Request], ...]] = (
    _chat,
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
