"""Random words for every place where an exchange has content, and how exchanges with them end."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any, Final

import httpx
import httpx2

from blindrelay.testbed.evidence.forms import WINDOW, spellings
from blindrelay.testbed.evidence.search import Needles

ORIGIN: Final = "https://api.openai.com"
IN_CLEAR: Final = "http://api.openai.com"
CHAT: Final = "/v1/chat/completions"
ERRORS: Final = (httpx.HTTPError, httpx2.HTTPError)
"""They include ours."""


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


def requests(canaries: Canaries, base: str) -> list[dict[str, Any]]:
    """Arguments for requests of httpx or httpx2 to the API at that base URL."""
    headers = {"authorization": f"Bearer {canaries.key}", "openai-beta": canaries.header}
    file = {"file": (canaries.file_name, canaries.body.encode() * 10)}
    chatting = {"url": f"{base}{CHAT}?after={canaries.query}", "json": chat(canaries)}
    sending = {"url": f"{base}/v1/audio/transcriptions", "files": file, "data": {"model": canaries.model}}
    return [
        {"method": "POST", "headers": headers, **chatting},
        {"method": "GET", "headers": headers, "url": f"{base}/v1/models/{canaries.path}"},
        {"method": "POST", "headers": headers, **sending},
    ]


def chat(canaries: Canaries, **more: Any) -> dict[str, Any]:
    """The body of a chat completion."""
    return {"model": canaries.model, "messages": [{"role": "user", "content": canaries.body}], **more}


def endings(client: httpx.Client | httpx2.Client, base: str, canaries: Canaries) -> list[str]:
    """Sends all requests at once. Returns a word for the end of each."""

    def sent(request: dict[str, Any]) -> str:
        try:
            return ending(client.request(**request))
        except ERRORS as error:
            return reason(error)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(sent, requests(canaries, base)))


def ending(response: httpx.Response | httpx2.Response) -> str:
    """The kind of our error, from any part, or the provider's status."""
    return response.headers.get("x-blindrelay-error", str(response.status_code)).rpartition("/")[2]


def reason(error: Exception) -> str:
    """The kind of our error, or the name of another."""
    return str(getattr(error, "kind", type(error).__name__))
