"""A chat completion through BlindRelay, with the official openai SDK. Set BLINDRELAY_CONNECTION first."""

from openai import OpenAI

from blindrelay.client import SealedTransport

sealed = SealedTransport.from_env()
client = OpenAI(
    api_key="the-bridge-has-it", base_url=sealed.base_url("openai"), http_client=sealed.httpx2_client()
)

answer = client.chat.completions.create(
    model="gpt-5.5",
    messages=[{"role": "user", "content": "What is the capital of France? Answer in one sentence."}],
)
print(answer.choices[0].message.content)
