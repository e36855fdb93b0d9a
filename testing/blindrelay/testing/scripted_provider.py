"""A provider that answers as a test tells it to, in the dialects of the usual APIs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import Any, Final

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from blindrelay.testing.delivery import deliver
from blindrelay.testing.dialects import ChatCompletions, Usage, dialect_of, embeddings, models
from blindrelay.testing.replies import DEFAULT_TEXT, Reply
from blindrelay.testing.requests import ReceivedRequest
from blindrelay.testing.responses import Response, json_response, streamed_response, whole_response
from blindrelay.testing.web_server import serving

Handler = Callable[[ReceivedRequest], Reply | Awaitable[Reply]]

_DEFAULT_ERROR: Final = ChatCompletions()


class ScriptedProvider:
    """Answers chat completions, Responses, Messages and Gemini calls; remembers what was asked.

    Attributes:
        requests: what was received, in order. A request is listed when its body is complete.

    Args:
        keep_bodies: whether requests keep their bodies once they are answered. A long run may not want that.
    """

    def __init__(self, *, keep_bodies: bool = True) -> None:
        self._keep_bodies = keep_bodies
        self.requests: list[ReceivedRequest] = []
        self._replies: deque[Reply] = deque()
        self._handler: Handler = lambda _: Reply()

    def reply(self, text: str | Reply = DEFAULT_TEXT, **options: Any) -> None:
        """Queues the reply to one request; replies are used in order.

        Args:
            text: what the model says, or a whole Reply.
            options: attributes of a Reply, such as status=429 or delay=0.5.
        """
        self._replies.append(text if isinstance(text, Reply) else Reply(text, **options))

    def answer_with(self, handler: Handler) -> None:
        """Answers each request for which no reply is queued with what `handler` returns for it.

        It is called in the event loop of the provider, and may be a coroutine function. If it raises or
        returns something other than a Reply, the response is an error with status 500 that says so.
        """
        self._handler = handler

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[str]:
        """Serves on 127.0.0.1 for as long as the block runs; gives the base URL. Port 0 is any free one.

        Raises OSError if the port is taken.
        """
        async with serving(self, port) as bound:
            yield f"http://127.0.0.1:{bound}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The provider as an ASGI application. A WebSocket is refused."""
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        request = await _received(Request(scope, receive))
        self.requests.append(request)
        reply = await self._next_reply(request)
        try:
            response = _response(request, reply)
        except (TypeError, ValueError) as error:
            reply = Reply(f"the scripted provider cannot send this reply: {error}", status=500)
            response = _response(request, reply)
        if not self._keep_bodies:
            request.body = b""
        request.outcome = await deliver(response, reply, receive, send)

    async def _next_reply(self, request: ReceivedRequest) -> Reply:
        if self._replies:
            return self._replies.popleft()
        try:
            answer: object = self._handler(request)
            reply = await answer if isawaitable(answer) else answer
        except asyncio.CancelledError:
            raise
        except Exception as error:
            return Reply(f"the handler of the scripted provider raised {error!r}", status=500)
        if not isinstance(reply, Reply):
            kind = type(reply).__name__
            return Reply(f"the handler of the scripted provider returned {kind}, not Reply", status=500)
        return reply


async def _received(request: Request) -> ReceivedRequest:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
    path, query = request.scope["raw_path"].decode("ascii"), request.scope["query_string"].decode("ascii")
    target = f"{path}?{query}" if query else path
    return ReceivedRequest(request.method, target, headers, await request.body())


def _response(request: ReceivedRequest, reply: Reply) -> Response:
    dialect = dialect_of(request.path)
    body = request.json_object()
    if reply.json is not None:
        return json_response(reply.json, reply)
    if reply.status >= 400:
        return json_response((dialect or _DEFAULT_ERROR).error(reply.text, reply.status), reply)
    if dialect is None:
        return _without_dialect(request, body, reply)
    usage = Usage(len(request.body.split()) or 1, len(reply.text.split()) or 1)
    if dialect.is_streamed(request.path, body):
        return streamed_response(dialect, reply, usage, told=dialect.reports_usage(body))
    return whole_response(dialect, reply, usage)


def _without_dialect(request: ReceivedRequest, body: dict[str, Any], reply: Reply) -> Response:
    """The answer to a call of an API that carries no text."""
    if request.path.endswith("/models"):
        return json_response(models(), reply)
    if request.path.endswith("/embeddings"):
        given = body.get("input", "")
        return json_response(embeddings(given if isinstance(given, list) else [given]), reply)
    if request.path.endswith("/messages/count_tokens"):
        return json_response({"input_tokens": 1}, reply)
    message = f"the scripted provider does not know {request.path}: use Reply(json=...) or answer_with()"
    return json_response(_DEFAULT_ERROR.error(message, 404), Reply(status=404))
