"""Parts that are killed amid a response: a typed error at once, and calls succeed when they are back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx2
import pytest
from openai import APIConnectionError, InternalServerError, OpenAI

from blindrelay.client import BlindRelayError, BridgeError, CutResponseError, SealedTransport
from blindrelay.testbed import Testbed
from tests.patience import PATIENCE, wait_for

URL = "https://api.openai.com/v1/chat/completions"
MESSAGES: Any = [{"role": "user", "content": "What is the capital of France?"}]
HELD: Any = {"model": "m", "messages": MESSAGES, "stream": True, "scripted": {"hold": "for ever"}}
RETRIED = (APIConnectionError, InternalServerError)
"""What SDKs try again."""


@pytest.fixture(scope="module")
def fragile_bed() -> Iterator[Testbed]:
    with Testbed("scripted") as bed:
        yield bed


@pytest.fixture
def bed(fragile_bed: Testbed) -> Testbed:
    """A testbed that tests may harm. All its parts run at the beginning of a test."""
    for name, part in fragile_bed.parts.items():
        if not part.is_running:
            fragile_bed.start(name)
    fragile_bed.wait_until_ready()
    return fragile_bed


@pytest.fixture
def sealed(bed: Testbed) -> Iterator[SealedTransport]:
    with SealedTransport(bed.relay) as sealed:
        yield sealed


@pytest.mark.parametrize(
    ("part", "error"), [("provider", BridgeError), ("bridge", CutResponseError), ("relay", CutResponseError)]
)
def test_killing_a_part_is_noticed_and_survived(
    bed: Testbed, sealed: SealedTransport, part: str, error: type[BlindRelayError]
) -> None:
    with sealed.httpx2_client() as http, http.stream("POST", URL, json=HELD) as answer:
        pieces = answer.iter_raw()
        begun = next(pieces)
        while b"The" not in begun:
            begun += next(pieces)
        bed.kill(part)
        with pytest.raises(error) as raised:
            list(pieces)
        assert isinstance(raised.value, httpx2.RemoteProtocolError)
    client = OpenAI(api_key="none", http_client=sealed.httpx2_client(), max_retries=0)
    for _ in range(3):
        with pytest.raises(RETRIED):
            client.with_options(timeout=1).chat.completions.create(model="m", messages=MESSAGES)
        time.sleep(0.5)
    bed.start(part)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(*RETRIED):
            client.chat.completions.create(model="m", messages=MESSAGES)
            return
    pytest.fail("no call succeeds")


def test_provider_that_breaks_off_is_an_error(sealed: SealedTransport) -> None:
    body = {**HELD, "scripted": {"break_after": 3}}
    received: list[bytes] = []
    with sealed.httpx2_client() as client, client.stream("POST", URL, json=body) as answer:
        with pytest.raises(BridgeError) as raised:
            received.extend(answer.iter_raw())
        assert isinstance(raised.value, httpx2.RemoteProtocolError)
    assert b" of" in b"".join(received)


def test_full_bridge_refuses_and_stays_listed() -> None:
    with Testbed("scripted", bridge_options={"max_exchanges": 1}) as bed:
        client = SealedTransport(f"{bed.relay}&shape=off").httpx2_client()
        with client.stream("POST", URL, json=HELD) as held:
            assert held.status_code == 200
            # A new client gets the keys, and its exchange is refused.
            for connection in (bed.direct, bed.relay):
                answer = SealedTransport(connection).httpx2_client().post(URL, json=HELD)
                assert answer.status_code == 429
                assert answer.headers["x-blindrelay-error"] == "relay/overloaded"
            httpx2.post(f"{bed.provider}/scripted/release", json={"gate": "for ever"}, timeout=PATIENCE)
            assert b"[DONE]" in held.read()
        wait_for(lambda: client.post(URL, json={**HELD, "scripted": {}}).status_code == 200)
