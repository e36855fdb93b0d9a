"""A streamed response through BlindRelay. A response that is cut raises an error."""

from openai import OpenAI

from blindrelay.client import SealedTransport

sealed = SealedTransport.from_env()
client = OpenAI(
    api_key="the-bridge-has-it", base_url=sealed.base_url("openai"), http_client=sealed.httpx2_client()
)

for chunk in client.chat.completions.create(
    model="gpt-5.5",
    messages=[{"role": "user", "content": "What is the capital of France? Answer in one sentence."}],
    stream=True,
):
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
