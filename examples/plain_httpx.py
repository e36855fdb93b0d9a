"""Any request that the bridge allows, with httpx alone."""

from blindrelay.client import SealedTransport

sealed = SealedTransport.from_env()
with sealed.httpx_client(base_url=sealed.base_url("openai")) as client:
    answer = client.get("/models")
    answer.raise_for_status()
    for model in answer.json()["data"]:
        print(model["id"])
