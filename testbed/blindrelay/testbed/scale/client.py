"""A client that has the addresses of several relays, and takes them in turn."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import cycle
from types import TracebackType
from typing import Self

import httpx2
import openai
from openai.types.chat import ChatCompletionChunk

from blindrelay.client import SealedTransport


class Turns(httpx2.BaseTransport):
    """Sends each request through the next relay. So what an SDK sends again takes another way.

    Attributes:
        taken: the numbers of the relays that were taken, from 1 on.
    """

    def __init__(self, transports: Sequence[SealedTransport]) -> None:
        self._transports = transports
        self._turns = cycle(range(len(transports)))
        self.taken: list[int] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends it. Raises what the relay's transport raises."""
        turn = next(self._turns)
        self.taken.append(turn + 1)
        response: httpx2.Response = self._transports[turn].handle_request(request)
        return response


class Caller:
    """The openai SDK with its usual retries, over several relays. For one thread.

    Attributes:
        turns: which relays it took.
    """

    def __init__(self, relays: Sequence[str]) -> None:
        self._open = ExitStack()
        self.turns = Turns([self._open.enter_context(SealedTransport(relay)) for relay in relays])
        http_client = self._open.enter_context(httpx2.Client(transport=self.turns, timeout=60.0))
        self._client = openai.OpenAI(api_key="not-needed", http_client=http_client)

    def ask(self, question: str = "What is the capital of France?") -> str:
        """The answer. Raises openai.OpenAIError."""
        answer = self._client.chat.completions.create(
            model="scripted", messages=[{"role": "user", "content": question}]
        )
        return answer.choices[0].message.content or ""

    def stream(self, script: dict[str, object]) -> openai.Stream[ChatCompletionChunk]:
        """An answer as it comes, as the provider's script says. Raises openai.OpenAIError."""
        return self._client.chat.completions.create(
            model="scripted",
            messages=[{"role": "user", "content": "?"}],
            stream=True,
            extra_body={"scripted": script},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
