"""Leaving a stream ends the work of the provider."""

from __future__ import annotations

from typing import Any

import httpx2
from openai import OpenAI

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed

MESSAGES: Any = [{"role": "user", "content": "What is the capital of France?"}]
KEY = "the-bridge-has-it"


def test_leaving_a_stream_ends_the_providers_work(scripted: SealedTransport, scripted_bed: Testbed) -> None:
    client = OpenAI(api_key=KEY, http_client=scripted.httpx2_client())
    with client.chat.completions.create(
        model="m", messages=MESSAGES, stream=True, extra_body={"scripted": {"hold": "never-released"}}
    ) as stream:
        next(iter(stream))
        assert _outcomes(scripted_bed)[-1] == "open"
    for _ in range(500):
        if (outcome := _outcomes(scripted_bed)[-1]) != "open":
            break
    assert outcome == "abandoned"


def _outcomes(bed: Testbed) -> list[str]:
    return [entry["outcome"] for entry in httpx2.get(f"{bed.provider}/scripted/requests").json()]
