"""Several models at one address, with the official openai SDK. Set BLINDRELAY_CONNECTION first.

The bridge picks the provider by the model's name. Its operator decides on the names (docs/models.md).
"""

from openai import OpenAI

from blindrelay.client import SealedTransport

sealed = SealedTransport.from_env()
client = OpenAI(
    api_key="the-bridge-has-them", base_url=sealed.base_url("models"), http_client=sealed.httpx2_client()
)

for model in client.models.list():
    answer = client.chat.completions.with_raw_response.create(
        model=model.id,
        messages=[{"role": "user", "content": "What is the capital of France? Answer in one sentence."}],
    )
    print(answer.headers["blindrelay-served-by"], answer.parse().choices[0].message.content)
