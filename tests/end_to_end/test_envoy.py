"""The real client and the real bridge, with Envoy between them and a ledger beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from openai import OpenAI

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed
from blindrelay.testbed.topology import RelayStart

URL = "https://api.openai.com/v1/chat/completions"
QUESTION = [{"role": "user", "content": "?"}]


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    relay_start = RelayStart("blindrelay.testbed.envoy_relay")
    with Testbed("scripted", replicas=2, relay_start=relay_start, ledger=True) as bed:
        yield bed


@pytest.fixture
def sealed(bed: Testbed) -> Iterator[SealedTransport]:
    with SealedTransport(bed.relay) as sealed:
        yield sealed


@pytest.fixture
def openai(sealed: SealedTransport) -> OpenAI:
    return OpenAI(api_key="none", http_client=sealed.httpx2_client(), max_retries=0)


def test_whole_and_streamed_answers(openai: OpenAI) -> None:
    for _ in range(5):
        whole = openai.chat.completions.create(model="m", messages=QUESTION)
        assert whole.choices[0].message.content
        stream = openai.chat.completions.create(model="m", messages=QUESTION, stream=True)
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
        assert "".join(pieces)


def test_upload_of_16_mib(sealed: SealedTransport) -> None:
    with sealed.httpx2_client(timeout=120) as client:
        body = {"model": "m", "messages": [{"role": "user", "content": "x" * 16 * 2**20}]}
        assert client.post(URL, json=body).status_code == 200
