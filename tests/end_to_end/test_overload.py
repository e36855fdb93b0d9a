"""A full bridge refuses exchanges, and its relay keeps its keys."""

from __future__ import annotations

from typing import Any

import httpx2

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed

URL = "https://api.openai.com/v1/chat/completions"


def body(**script: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [], "stream": True, "scripted": script}


def test_full_bridge_refuses_and_stays_listed() -> None:
    with Testbed("scripted", bridge_options={"max_exchanges": 1}) as bed:
        client = SealedTransport(f"{bed.relay}&shape=off").httpx2_client()
        with client.stream("POST", URL, json=body(hold="gate")) as held:
            assert held.status_code == 200
            # A new client gets the keys, and its exchange is refused.
            for connection in (bed.direct, bed.relay):
                answer = SealedTransport(connection).httpx2_client().post(URL, json=body())
                assert answer.status_code == 429
                assert answer.headers["x-blindrelay-error"] == "relay/overloaded"
            httpx2.post(f"{bed.provider}/scripted/release", json={"gate": "gate"})
            assert b"[DONE]" in held.read()
        assert client.post(URL, json=body()).status_code == 200
