"""One customer against another, with one account at the provider: attacks, and twins that succeed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import takewhile
from typing import Any

import pytest

from blindrelay.client import ConnectionConfig, SealedTransport
from blindrelay.testbed import Testbed
from blindrelay.testbed.providers import llama_is_installed
from blindrelay.testing import LocalBlindRelay, ReceivedRequest, Reply

SECRET = "my account number is 4711 and the password is hunter2"
RIGHT = "my account number is 4711 and the"
WRONG = "my account number is 9823 and the"
OPENAI = "https://api.openai.com/v1/chat/completions"
VLLM = "https://models.example/v1/chat/completions"


def ask(connection: str | ConnectionConfig, url: str, text: str, **fields: Any) -> Any:
    """What a new transport of a customer's gets for one question: the response."""
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 1, **fields}
    with SealedTransport(connection) as transport, transport.httpx_client() as client:
        return client.post(url, json=body, timeout=60)


def cached_tokens(response: Any) -> int:
    assert response.status_code == 200, response.text
    found: int = response.json()["usage"]["prompt_tokens_details"]["cached_tokens"]
    return found


@pytest.mark.skipif(not llama_is_installed(), reason="llama.cpp is not installed")
@pytest.mark.parametrize("shared_cache", [False, True], ids=["attack", "twin"])
def test_llama_cpp_confirms_no_guess_at_anothers_prompt(shared_cache: bool) -> None:
    with Testbed("random", shared_cache=shared_cache) as bed:
        learned = []
        for guess in (RIGHT, WRONG):
            ask(bed.relay, OPENAI, SECRET)
            learned.append(cached_tokens(ask(bed.relay, OPENAI, guess)))
        assert (learned[0] > learned[1]) is shared_cache
        assert shared_cache or learned == [0, 0]
        ask(bed.relay, OPENAI, SECRET)
        forced = ask(bed.relay, OPENAI, RIGHT, cache_prompt=True)
        if shared_cache:
            assert cached_tokens(forced) > learned[1]
        else:
            assert forced.status_code == 400
            assert "cache_prompt" in forced.text


def common(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return sum(1 for _ in takewhile(bool, (a == b for a, b in zip(one, other, strict=False))))


class PrefixCache:
    """Reports how many characters of a prompt it has seen under the same salt, as vLLM does with blocks."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def answer(self, request: ReceivedRequest) -> Reply:
        salt, prompt = request.json.get("cache_salt", ""), request.json["messages"][0]["content"]
        found = max((common(prompt, old) for other, old in self.seen if other == salt), default=0)
        self.seen.append((salt, prompt))
        left = 30_000 - sum(len(old) for _, old in self.seen)
        usage = {"prompt_tokens_details": {"cached_tokens": found}}
        return Reply(json={"usage": usage}, headers={"x-ratelimit-remaining-tokens": str(left)})


@contextmanager
def prefix_cache(**options: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A relay and a bridge before such a provider, and what that has seen."""
    cache = PrefixCache()
    with LocalBlindRelay(
        origins={"vllm": "https://models.example"}, provider_options={"vllm": options}
    ) as local:
        local.provider.answer_with(cache.answer)
        yield local.connection_string, cache.seen


def test_a_salted_cache_confirms_no_guess_and_still_serves_its_owner() -> None:
    with prefix_cache() as (relay, seen):
        victim = replace(ConnectionConfig.from_string(relay), cache_salt=frozenset({"models.example"}))
        attacker = replace(victim, cache_salt=None)
        ask(victim, VLLM, SECRET)
        assert ask(attacker, VLLM, RIGHT).status_code == 400, "a prompt without a salt is refused"
        for number, guess in enumerate((RIGHT, WRONG, SECRET)):
            assert cached_tokens(ask(attacker, VLLM, guess, cache_salt=f"{number}" * 32)) == 0
        assert cached_tokens(ask(victim, VLLM, SECRET)) == len(SECRET)
        assert len({salt for salt, _ in seen}) == 4


def test_without_salts_the_same_cache_confirms_a_guess() -> None:
    with prefix_cache(cache_salt="off") as (relay, _):
        connection = replace(ConnectionConfig.from_string(relay), cache_salt=None)
        ask(connection, VLLM, SECRET)
        assert cached_tokens(ask(connection, VLLM, RIGHT)) == len(RIGHT)
        assert cached_tokens(ask(connection, VLLM, WRONG)) < len(RIGHT)


def test_limits_tell_no_customer_what_another_sends() -> None:
    """With a credential of one's own, the twin, they pass: then they are one's own account's."""
    with prefix_cache(cache_salt="off") as (relay, _):
        injected = ConnectionConfig.from_string(relay)
        assert "x-ratelimit-remaining-tokens" not in ask(injected, VLLM, SECRET).headers
        brought = ConnectionConfig.from_string(relay + "&credentials=brought")
        assert ask(brought, VLLM, SECRET).headers["x-ratelimit-remaining-tokens"]
