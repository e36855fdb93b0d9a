"""How two APIs are asked and how they stream: OpenAI's chat completions and Anthropic's messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final, TypedDict

_MAX_TOKENS: Final = 8_192
"""Anthropic's API wants a limit: long enough for a response that somebody reads."""


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
"""The words of the two APIs, and of servers that imitate them, for a response that is only a part."""


class Message(TypedDict):
    """One turn of a conversation; role is user or assistant."""

    role: str
    content: str


class Dialect(ABC):
    """One API.

    Attributes:
        origin: where its provider serves it.
        path: of a chat.
        key_variable: the environment variable with a key of one's own.
        model: the one that is asked if none is named; None if one has to be.
    """

    name: ClassVar[str]
    origin: ClassVar[str]
    path: ClassVar[str]
    key_variable: ClassVar[str]
    model: ClassVar[str | None] = None
    headers: ClassVar[dict[str, str]] = {}

    @abstractmethod
    def credential(self, key: str) -> dict[str, str]:
        """The header with a key of one's own."""

    @abstractmethod
    def question(self, model: str, messages: list[Message], system: str | None) -> dict[str, Any]:
        """The body of a request for a streamed response."""

    @abstractmethod
    def text(self, event: dict[str, Any]) -> str:
        """The text in a streamed event, if any."""

    @abstractmethod
    def stop_reason(self, event: dict[str, Any]) -> str | None:
        """Why the provider stopped, in its own word, if the event says so."""

    @abstractmethod
    def ends(self, data: str, event: dict[str, Any]) -> bool:
        """Whether the response is whole with this event."""


class OpenAI(Dialect):
    name = "openai"
    origin = "https://api.openai.com"
    path = "/v1/chat/completions"
    key_variable = "OPENAI_API_KEY"
    model = "gpt-5.5"

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


DIALECTS: Final[dict[str, Dialect]] = {each.name: each for each in (OpenAI(), Anthropic())}
