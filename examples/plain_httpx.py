"""Any request that the bridge allows, with nothing but httpx."""

from blindrelay.client import SealedTransport

with SealedTransport.from_env().httpx_client() as client:
    answer = client.get("https://api.openai.com/v1/models")
    answer.raise_for_status()
    for model in answer.json()["data"]:
        print(model["id"])
