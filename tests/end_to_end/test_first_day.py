"""Mistakes of a first day: each is reported in one clear line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, cast

import httpx2
import pytest
from anthropic import Anthropic, PermissionDeniedError
from openai import AuthenticationError, BadRequestError, OpenAI

from blindrelay.client import BlindRelayError, SealedTransport
from blindrelay.testbed import Testbed

URL = "https://api.openai.com/v1/chat/completions"
QUESTION: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello."}]}
SOON = 15.0
"""Seconds until a mistake is reported. Most take milliseconds, a connect timeout takes five seconds."""


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    """A testbed whose parts may be stopped."""
    with Testbed("scripted") as bed:
        yield bed


@pytest.fixture
def without(bed: Testbed, request: pytest.FixtureRequest) -> Iterator[Testbed]:
    """The testbed without one part."""
    bed.stop(request.param)
    yield bed
    bed.start(request.param)
    bed.wait_until_ready()


def complaint(sealed: SealedTransport) -> tuple[str, str]:
    """The origin and the message of an error that is raised or becomes a response."""
    started = time.monotonic()
    with sealed, sealed.httpx2_client() as client:
        try:
            answer = client.post(URL, json=QUESTION)
        except httpx2.TransportError as raised:
            error = cast(BlindRelayError, raised)
            told = f"{error.origin}/{error.kind}", str(error)
        else:
            assert answer.headers["x-should-retry"] == "false"
            told = answer.headers["x-blindrelay-error"], str(answer.json()["error"]["message"])
    assert time.monotonic() - started < SOON
    assert told[1]
    assert "\n" not in told[1]
    return told


@pytest.mark.parametrize(
    ("without", "origin", "words"),
    [
        ("relay", "relay/relay_unreachable", "no connection to the relay"),
        ("bridge", "relay/bridge_unavailable", "could not reach the bridge"),
        ("provider", "bridge/provider_unreachable", "the bridge answered: the provider could not be reached"),
    ],
    indirect=["without"],
)
def test_stopped_part_is_named(without: Testbed, origin: str, words: str) -> None:
    told = complaint(SealedTransport(without.relay))
    assert told[0] == origin
    assert words in told[1]


def test_sdks_show_the_error_and_do_not_retry(bed: Testbed) -> None:
    unknown = SealedTransport(bed.relay.replace(bed.token, "brt_" + "A" * 43))
    with pytest.raises(AuthenticationError, match="does not know this access token") as raised:
        OpenAI(api_key="none", http_client=unknown.httpx2_client()).models.list()
    assert "AAAA" not in str(raised.value)
    sealed = SealedTransport(bed.relay)
    client = OpenAI(api_key="none", http_client=sealed.httpx2_client())
    with pytest.raises(BadRequestError, match="store"):
        client.responses.create(model="m", input="Hello.", store=True)
    with pytest.raises(PermissionDeniedError, match="BlindRelay"):
        Anthropic(api_key="none", http_client=sealed.httpx2_client()).beta.files.list()
    seen = httpx2.get(f"{bed.provider}/scripted/requests").json()
    assert all(entry["path"] == "/v1/chat/completions" for entry in seen)
