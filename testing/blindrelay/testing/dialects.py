"""How the APIs of providers carry a text: as one JSON body, or as server-sent events.

Each dialect has what the official SDKs need, and constants for all that a client does not look at.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final

MODEL: Final = "scripted"
_CREATED: Final = 1_700_000_000


class Dialect(ABC):
    """One API's form of a text."""

    suffix: ClassVar[str]
    """How the paths of its requests end."""

    @abstractmethod
    def whole(self, text: str) -> dict[str, Any]:
        """The body of a response that is not streamed."""

    @abstractmethod
    def opening(self) -> bytes:
        """The events before the text."""

    @abstractmethod
    def piece(self, text: str) -> bytes:
        """The event with a piece of the text."""

    @abstractmethod
    def closing(self, text: str) -> bytes:
        """The events after the text. `text` is all of it."""

    def error(self, message: str, status: int) -> dict[str, Any]:
        """The body of an error."""
        return {"error": {"message": message, "type": "scripted", "param": None, "code": None}}

    def is_streamed(self, path: str, body: dict[str, Any]) -> bool:
        """Whether a request asks for a stream."""
        return body.get("stream") is True


class ChatCompletions(Dialect):
    suffix = "/chat/completions"

    def whole(self, text: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": text}
        return {
            **self._shared("chat.completion"),
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }

    def opening(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def piece(self, text: str) -> bytes:
        return self._chunk({"content": text})

    def closing(self, text: str) -> bytes:
        return self._chunk({}, finish_reason="stop") + b"data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return _event({**self._shared("chat.completion.chunk"), "choices": [choice]})

    def _shared(self, kind: str) -> dict[str, Any]:
        return {"id": "chatcmpl-scripted", "object": kind, "created": _CREATED, "model": MODEL}


class Responses(Dialect):
    suffix = "/responses"

    def whole(self, text: str) -> dict[str, Any]:
        return self._response("completed", [self._message("completed", [self._part(text)])])

    def opening(self) -> bytes:
        item = {"output_index": 0, "item": self._message("in_progress", [])}
        part = {"item_id": "msg_scripted", "output_index": 0, "content_index": 0, "part": self._part("")}
        return _named_events(
            ("response.created", {"response": self._response("in_progress", [])}),
            ("response.output_item.added", item),
            ("response.content_part.added", part),
        )

    def piece(self, text: str) -> bytes:
        place = {"item_id": "msg_scripted", "output_index": 0, "content_index": 0, "logprobs": []}
        return _named_events(("response.output_text.delta", {**place, "delta": text}))

    def closing(self, text: str) -> bytes:
        place = {"item_id": "msg_scripted", "output_index": 0, "content_index": 0}
        message = self._message("completed", [self._part(text)])
        return _named_events(
            ("response.output_text.done", {**place, "text": text, "logprobs": []}),
            ("response.content_part.done", {**place, "part": self._part(text)}),
            ("response.output_item.done", {"output_index": 0, "item": message}),
            ("response.completed", {"response": self._response("completed", [message])}),
        )

    def _response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        usage = {
            "input_tokens": 1,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 1,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 2,
        }
        shared = {"id": "resp_scripted", "object": "response", "created_at": _CREATED, "model": MODEL}
        tools = {"parallel_tool_calls": False, "tool_choice": "auto", "tools": []}
        return {**shared, **tools, "status": status, "output": output, "usage": usage}

    def _message(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        shared = {"id": "msg_scripted", "type": "message", "role": "assistant"}
        return {**shared, "status": status, "content": content}

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


class Messages(Dialect):
    suffix = "/messages"

    def whole(self, text: str) -> dict[str, Any]:
        return self._message([{"type": "text", "text": text}], "end_turn")

    def opening(self) -> bytes:
        return _named_events(
            ("message_start", {"message": self._message([], None)}),
            ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
        )

    def piece(self, text: str) -> bytes:
        delta = {"type": "text_delta", "text": text}
        return _named_events(("content_block_delta", {"index": 0, "delta": delta}))

    def closing(self, text: str) -> bytes:
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        return _named_events(
            ("content_block_stop", {"index": 0}),
            ("message_delta", {"delta": delta, "usage": {"output_tokens": 1}}),
            ("message_stop", {}),
        )

    def error(self, message: str, status: int) -> dict[str, Any]:
        return {"type": "error", "error": {"type": "api_error", "message": message}}

    def _message(self, content: list[dict[str, Any]], stop_reason: str | None) -> dict[str, Any]:
        shared = {"id": "msg_scripted", "type": "message", "role": "assistant", "model": MODEL}
        usage = {"input_tokens": 1, "output_tokens": 1}
        return {
            **shared,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": usage,
        }


class Gemini(Dialect):
    suffix = "enerateContent"
    """`generateContent` and `streamGenerateContent`."""

    def whole(self, text: str) -> dict[str, Any]:
        return self._candidate(text, {"finishReason": "STOP"})

    def opening(self) -> bytes:
        return b""

    def piece(self, text: str) -> bytes:
        return _event(self._candidate(text, {}))

    def closing(self, text: str) -> bytes:
        return _event(self._candidate("", {"finishReason": "STOP"}))

    def error(self, message: str, status: int) -> dict[str, Any]:
        return {"error": {"code": status, "message": message, "status": "SCRIPTED"}}

    def is_streamed(self, path: str, body: dict[str, Any]) -> bool:
        return path.endswith(":streamGenerateContent")

    def _candidate(self, text: str, end: dict[str, str]) -> dict[str, Any]:
        content = {"role": "model", "parts": [{"text": text}]}
        usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
        candidates = [{"index": 0, "content": content, **end}]
        return {"candidates": candidates, "usageMetadata": usage, "modelVersion": MODEL}


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
