"""Requests with content in every possible place, and how their exchanges end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import httpx
import httpx2

from .canaries import Canaries

ORIGIN: Final = "https://api.openai.com"
CHAT: Final = "/v1/chat/completions"
ERRORS: Final = (httpx.HTTPError, httpx2.HTTPError)
"""They include ours."""


def requests(canaries: Canaries, base: str) -> list[dict[str, Any]]:
    """Arguments for requests of httpx or httpx2 to the API at that base URL."""
    headers = {"authorization": f"Bearer {canaries.key}", "openai-beta": canaries.header}
    return [
        {
            "method": "POST",
            "url": f"{base}{CHAT}?after={canaries.query}",
            "headers": headers,
            "json": chat(canaries),
        },
        {"method": "GET", "url": f"{base}/v1/models/{canaries.path}", "headers": headers},
        {
            "method": "POST",
            "url": f"{base}/v1/audio/transcriptions",
            "headers": headers,
            "files": {"file": (canaries.file_name, canaries.body.encode() * 10)},
            "data": {"model": canaries.model},
        },
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
