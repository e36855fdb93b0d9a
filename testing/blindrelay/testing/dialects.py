"""How the APIs of providers carry a text: as one JSON body, or as server-sent events.

Each dialect has what the official SDKs need, and constants for all that a client does not look at.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Final

MODEL: Final = "scripted"
_CREATED: Final = 1_700_000_000


@dataclass(frozen=True)
class Usage:
    """Tokens that a provider counts: read and written. The scripted provider takes words for tokens."""

    read: int = 1
    written: int = 1

    @property
    def total(self) -> int:
        return self.read + self.written


ONE_WORD: Final = Usage()


class Dialect(ABC):
    """One API's form of a text."""

    suffix: ClassVar[str]
    """How the paths of its requests end."""

    @abstractmethod
    def whole(self, text: str, usage: Usage = ONE_WORD) -> dict[str, Any]:
        """The body of a response that is not streamed."""

    @abstractmethod
    def opening(self, usage: Usage = ONE_WORD) -> bytes:
        """The events before the text."""

    @abstractmethod
    def piece(self, text: str) -> bytes:
        """The event with a piece of the text."""

    @abstractmethod
    def closing(self, text: str, usage: Usage | None = ONE_WORD) -> bytes:
        """The events after the text. `text` is all of it; without `usage`, they do not tell it."""

    def reports_usage(self, body: dict[str, Any]) -> bool:
        """Whether a stream tells its usage."""
        return True

    def error(self, message: str, status: int) -> dict[str, Any]:
        """The body of an error."""
        return {"error": {"message": message, "type": "scripted", "param": None, "code": None}}

    def is_streamed(self, path: str, body: dict[str, Any]) -> bool:
        """Whether a request asks for a stream."""
        return body.get("stream") is True


class ChatCompletions(Dialect):
    suffix = "/chat/completions"

    def whole(self, text: str, usage: Usage = ONE_WORD) -> dict[str, Any]:
        message = {"role": "assistant", "content": text}
        return {
            **self._shared("chat.completion"),
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
            "usage": self._usage(usage),
        }

    def opening(self, usage: Usage = ONE_WORD) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def piece(self, text: str) -> bytes:
        return self._chunk({"content": text})

    def closing(self, text: str, usage: Usage | None = None) -> bytes:
        told = b""
        if usage is not None:
            shared = self._shared("chat.completion.chunk")
            told = _event({**shared, "choices": [], "usage": self._usage(usage)})
        return self._chunk({}, finish_reason="stop") + told + b"data: [DONE]\n\n"

    def reports_usage(self, body: dict[str, Any]) -> bool:
        options = body.get("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True

    def _usage(self, usage: Usage) -> dict[str, int]:
        return {
            "prompt_tokens": usage.read,
            "completion_tokens": usage.written,
            "total_tokens": usage.total,
        }

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return _event({**self._shared("chat.completion.chunk"), "choices": [choice]})

    def _shared(self, kind: str) -> dict[str, Any]:
        return {"id": "chatcmpl-scripted", "object": kind, "created": _CREATED, "model": MODEL}


class Responses(Dialect):
    suffix = "/responses"

    def whole(self, text: str, usage: Usage = ONE_WORD) -> dict[str, Any]:
        return self._response("completed", [self._message("completed", [self._part(text)])], usage)

    def opening(self, usage: Usage = ONE_WORD) -> bytes:
        item = {"output_index": 0, "item": self._message("in_progress", [])}
        part = {"item_id": "msg_scripted", "output_index": 0, "content_index": 0, "part": self._part("")}
        return _named_events(
            ("response.created", {"response": self._response("in_progress", [], None)}),
            ("response.output_item.added", item),
            ("response.content_part.added", part),
        )

    def piece(self, text: str) -> bytes:
        place = {"item_id": "msg_scripted", "output_index": 0, "content_index": 0, "logprobs": []}
        return _named_events(("response.output_text.delta", {**place, "delta": text}))

    def closing(self, text: str, usage: Usage | None = ONE_WORD) -> bytes:
        place = {"item_id": "msg_scripted", "output_index": 0, "content_index": 0}
        message = self._message("completed", [self._part(text)])
        return _named_events(
            ("response.output_text.done", {**place, "text": text, "logprobs": []}),
            ("response.content_part.done", {**place, "part": self._part(text)}),
            ("response.output_item.done", {"output_index": 0, "item": message}),
            ("response.completed", {"response": self._response("completed", [message], usage)}),
        )

    def _response(self, status: str, output: list[dict[str, Any]], usage: Usage | None) -> dict[str, Any]:
        counted = usage and {
            "input_tokens": usage.read,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": usage.written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.total,
        }
        shared = {"id": "resp_scripted", "object": "response", "created_at": _CREATED, "model": MODEL}
        tools = {"parallel_tool_calls": False, "tool_choice": "auto", "tools": []}
        return {**shared, **tools, "status": status, "output": output, "usage": counted}

    def _message(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        shared = {"id": "msg_scripted", "type": "message", "role": "assistant"}
        return {**shared, "status": status, "content": content}

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


class Messages(Dialect):
    suffix = "/messages"

    def whole(self, text: str, usage: Usage = ONE_WORD) -> dict[str, Any]:
        return self._message([{"type": "text", "text": text}], "end_turn", usage)

    def opening(self, usage: Usage = ONE_WORD) -> bytes:
        return _named_events(
            ("message_start", {"message": self._message([], None, Usage(usage.read))}),
            ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
        )

    def piece(self, text: str) -> bytes:
        delta = {"type": "text_delta", "text": text}
        return _named_events(("content_block_delta", {"index": 0, "delta": delta}))

    def closing(self, text: str, usage: Usage | None = ONE_WORD) -> bytes:
        written = 0 if usage is None else usage.written
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        return _named_events(
            ("content_block_stop", {"index": 0}),
            ("message_delta", {"delta": delta, "usage": {"output_tokens": written}}),
            ("message_stop", {}),
        )

    def error(self, message: str, status: int) -> dict[str, Any]:
        return {"type": "error", "error": {"type": "api_error", "message": message}}

    def _message(
        self, content: list[dict[str, Any]], stop_reason: str | None, usage: Usage
    ) -> dict[str, Any]:
        shared = {"id": "msg_scripted", "type": "message", "role": "assistant", "model": MODEL}
        return {
            **shared,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": {"input_tokens": usage.read, "output_tokens": usage.written},
        }


class Gemini(Dialect):
    suffix = "enerateContent"
    """`generateContent` and `streamGenerateContent`."""

    def whole(self, text: str, usage: Usage = ONE_WORD) -> dict[str, Any]:
        return self._candidate(text, {"finishReason": "STOP"}, usage)

    def opening(self, usage: Usage = ONE_WORD) -> bytes:
        return b""

    def piece(self, text: str) -> bytes:
        return _event(self._candidate(text, {}, ONE_WORD))

    def closing(self, text: str, usage: Usage | None = ONE_WORD) -> bytes:
        return _event(self._candidate("", {"finishReason": "STOP"}, usage or ONE_WORD))

    def error(self, message: str, status: int) -> dict[str, Any]:
        return {"error": {"code": status, "message": message, "status": "SCRIPTED"}}

    def is_streamed(self, path: str, body: dict[str, Any]) -> bool:
        return path.endswith(":streamGenerateContent")

    def _candidate(self, text: str, end: dict[str, str], usage: Usage) -> dict[str, Any]:
        content = {"role": "model", "parts": [{"text": text}]}
        counted = {
            "promptTokenCount": usage.read,
            "candidatesTokenCount": usage.written,
            "totalTokenCount": usage.total,
        }
        candidates = [{"index": 0, "content": content, **end}]
        return {"candidates": candidates, "usageMetadata": counted, "modelVersion": MODEL}


DIALECTS: Final = (ChatCompletions(), Responses(), Messages(), Gemini())


def dialect_of(path: str) -> Dialect | None:
    """The dialect of the API that is called by this path, or None."""
    return next((dialect for dialect in DIALECTS if path.endswith(dialect.suffix)), None)


def models() -> dict[str, Any]:
    """The body of GET /v1/models."""
    model = {"id": MODEL, "object": "model", "created": _CREATED, "owned_by": MODEL}
    return {"object": "list", "data": [model]}


def embeddings(inputs: list[str]) -> dict[str, Any]:
    """The body of a response of POST /v1/embeddings: eight numbers for each input, made from its length."""
    data = [
        {"object": "embedding", "index": index, "embedding": [len(text) / (place + 1) for place in range(8)]}
        for index, text in enumerate(inputs)
    ]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return {"object": "list", "model": MODEL, "data": data, "usage": usage}


def _event(data: dict[str, Any], name: str | None = None) -> bytes:
    line = f"data: {json.dumps(data)}\n\n"
    return (f"event: {name}\n{line}" if name else line).encode()


def _named_events(*events: tuple[str, dict[str, Any]]) -> bytes:
    return b"".join(_event({"type": name, **_numbered(name, data)}, name) for name, data in events)


def _numbered(name: str, data: dict[str, Any]) -> dict[str, Any]:
    # Clients of the Responses API want a number; they do not look at its order.
    return {"sequence_number": 0, **data} if name.startswith("response.") else data
