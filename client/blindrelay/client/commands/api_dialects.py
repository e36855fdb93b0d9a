"""Requests and streams of two APIs: OpenAI's chat completions and Anthropic's messages.

All models of a bridge are at one address, and answer as OpenAI does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final, TypedDict

from blindrelay.client.provider_apis import MODELS, MODELS_ORIGIN

_MAX_TOKENS: Final = 8_192
"""Anthropic's API requires a limit. This is long enough for a response that a person reads."""


CUT_REASONS: Final = frozenset(
    {
        "content_filter",
        "incomplete",
        "length",
        "max_output_tokens",
        "max_tokens",
        "model_context_window_exceeded",
        "refusal",
    }
)
"""How the two APIs, and servers that imitate them, say that a response is incomplete."""


class Message(TypedDict):
    """One turn of a conversation; role is user or assistant."""

    role: str
    content: str


class Dialect(ABC):
    """One API.

    Attributes:
        origin: where its provider serves it.
        path: of a chat.
        key_variable: the environment variable with the user's own key; None if the connection has them.
        model: the default; None means that one must be named.
    """

    name: ClassVar[str]
    origin: ClassVar[str]
    path: ClassVar[str]
    key_variable: ClassVar[str | None]
    model: ClassVar[str | None] = None
    headers: ClassVar[dict[str, str]] = {}

    @abstractmethod
    def credential(self, key: str) -> dict[str, str]:
        """The header with the user's own key."""

    @abstractmethod
    def question(self, model: str, messages: list[Message], system: str | None) -> dict[str, Any]:
        """The body of a request for a streamed response."""

    @abstractmethod
    def text(self, event: dict[str, Any]) -> str:
        """The text in a streamed event, if any."""

    @abstractmethod
    def stop_reason(self, event: dict[str, Any]) -> str | None:
        """Why the provider stopped, in its own words, if the event says so."""

    @abstractmethod
    def ends(self, data: str, event: dict[str, Any]) -> bool:
        """Whether this event completes the response."""


class OpenAI(Dialect):
    name = "openai"
    origin = "https://api.openai.com"
    path = "/v1/chat/completions"
    key_variable: ClassVar[str | None] = "OPENAI_API_KEY"
    model: ClassVar[str | None] = "gpt-5.5"

    def credential(self, key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"}

    def question(self, model: str, messages: list[Message], system: str | None) -> dict[str, Any]:
        first = [Message(role="system", content=system)] if system else []
        return {"model": model, "messages": [*first, *messages], "stream": True}

    def text(self, event: dict[str, Any]) -> str:
        choices = event.get("choices") or [{}]
        return str((choices[0].get("delta") or {}).get("content") or "")

    def stop_reason(self, event: dict[str, Any]) -> str | None:
        choices = event.get("choices") or [{}]
        return choices[0].get("finish_reason") or None

    def ends(self, data: str, event: dict[str, Any]) -> bool:
        return data == "[DONE]"


class Anthropic(Dialect):
    name = "anthropic"
    origin = "https://api.anthropic.com"
    path = "/v1/messages"
    key_variable = "ANTHROPIC_API_KEY"
    headers: ClassVar[dict[str, str]] = {"anthropic-version": "2023-06-01"}

    def credential(self, key: str) -> dict[str, str]:
        return {"x-api-key": key}

    def question(self, model: str, messages: list[Message], system: str | None) -> dict[str, Any]:
        instruction = {"system": system} if system else {}
        return {
            "model": model,
            "max_tokens": _MAX_TOKENS,
            "messages": messages,
            "stream": True,
            **instruction,
        }

    def text(self, event: dict[str, Any]) -> str:
        return str((event.get("delta") or {}).get("text") or "")

    def stop_reason(self, event: dict[str, Any]) -> str | None:
        return (event.get("delta") or {}).get("stop_reason") or None

    def ends(self, data: str, event: dict[str, Any]) -> bool:
        return event.get("type") == "message_stop"


class Models(OpenAI):
    name = MODELS
    origin = MODELS_ORIGIN
    key_variable = None
    model = None


DIALECTS: Final[dict[str, Dialect]] = {each.name: each for each in (OpenAI(), Anthropic(), Models())}
