"""A message to Claude through BlindRelay, streamed, with the official anthropic SDK."""

from anthropic import Anthropic

from blindrelay.client import SealedTransport

sealed = SealedTransport.from_env()
client = Anthropic(
    api_key="the-bridge-has-it", base_url=sealed.base_url("anthropic"), http_client=sealed.httpx2_client()
)

with client.messages.stream(
    model="claude-haiku-5-5",
    max_tokens=64,
    messages=[{"role": "user", "content": "What is the capital of France? Answer in one sentence."}],
) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
print()
