"""The provider's token counts, from which bills are made, arrive unchanged."""

from __future__ import annotations

from typing import Any

from openai import OpenAI

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed

ASKED: Any = {
    "model": "random",
    "messages": [{"role": "user", "content": "Say something."}],
    "max_tokens": 8,
    "seed": 1,
    "temperature": 0,
}


def test_providers_token_counts_arrive(model: SealedTransport, model_bed: Testbed) -> None:
    def figures(client: OpenAI) -> list[Any]:
        stream = client.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": True})
        return [chunk.usage.model_dump(exclude={"prompt_tokens_details"}) for chunk in stream if chunk.usage]

    with OpenAI(base_url=f"{model_bed.provider}/v1", api_key="none") as straight:
        expected = figures(straight)
    with OpenAI(api_key="none", http_client=model.httpx2_client()) as sealed:
        assert figures(sealed) == expected
    assert expected[0]["completion_tokens"] > 0
