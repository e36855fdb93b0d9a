"""What a relay sees of calls to different models at one address is the same, whoever answers, or nobody."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blindrelay.client import SealedTransport
from blindrelay.provider_bridge import response_stream
from blindrelay.testing import LocalBlindRelay, ReceivedRequest, RelayedExchange, Reply

URL = "https://models.blindrelay.internal/v1/chat/completions"
MODELS = {
    "m": "openai/gpt-5.5",
    "another-model-whose-name-is-much-longer": "anthropic/claude-opus-5",
    "busy-at-first": ["groq/gpt-oss", "openai/gpt-5.5"],
}
ANSWERED = {
    "m": (200, "openai/gpt-5.5"),
    "another-model-whose-name-is-much-longer": (200, "anthropic/claude-opus-5"),
    "busy-at-first": (200, "openai/gpt-5.5"),
    "not-in-the-table": (404, None),
}
BUSY = "/openai/v1/chat/completions"
"""The path at Groq."""


@pytest.fixture(scope="module")
def local() -> Iterator[LocalBlindRelay]:
    with LocalBlindRelay(models=MODELS) as local:
        local.provider.answer_with(_answer)
        yield local


@pytest.fixture(autouse=True)
def one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """A response waits until the provider has said all. On a busy machine its head may come long before."""
    gather = response_stream._gather
    monkeypatch.setattr(response_stream, "_gather", lambda response, _: gather(response, 60.0))


def _answer(request: ReceivedRequest) -> Reply:
    if request.path == BUSY:
        return Reply("slow down", status=429, headers={"retry-after": "60"})
    return Reply(f"I am {request.json['model']}.")


def _look(exchange: RelayedExchange) -> tuple[list[int], list[int], list[str]]:
    """Sizes of what went up and down, and which metadata the call had."""
    up, down = exchange.request_messages, exchange.response_messages
    return [len(each) for each in up], [len(each) for each in down], sorted(exchange.metadata)


@pytest.mark.parametrize("shape", ["balanced", "off"])
def test_models_look_alike(shape: str, local: LocalBlindRelay) -> None:
    looks = []
    with (
        SealedTransport(f"{local.connection_string}&shape={shape}") as sealed,
        sealed.httpx_client() as client,
    ):
        for name, answered in ANSWERED.items():
            body = {"model": name, "messages": [{"role": "user", "content": "Who are you?"}]}
            answer = client.post(URL, json=body)
            assert (answer.status_code, answer.headers.get("blindrelay-served-by")) == answered
            looks.append(_look(local.relay_saw[-1]))
    assert looks == looks[:1] * len(ANSWERED)
    assert BUSY in [request.path for request in local.provider.requests]


def test_names_of_models_are_not_readable(local: LocalBlindRelay) -> None:
    (name,) = [name for name in MODELS if len(name) > 20]
    with local.sealed.httpx_client() as client:
        client.post(URL, json={"model": name, "messages": []})
    for text in (name, "claude", "anthropic", "models.blindrelay.internal"):
        assert text not in local.relay_saw[-1]
