"""A provider that does what each request tells it to, as a process.

    python -m blindrelay.testbed.scripted_provider [--port PORT]

It is blindrelay.testing's scripted provider. The field "scripted" of a request's JSON body, or of its query,
directs the response (see Script). A path of no known API is answered with an echo of the request. Two more
paths are for observers:

    POST /scripted/release {"gate": NAME}   lets the responses that wait at a gate go on
    GET /scripted/requests                  what was received, and how each response ended

When it listens it prints {"listening": "127.0.0.1:PORT"}. SIGTERM ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

from blindrelay.testing import Gate, ReceivedRequest, Reply, ScriptedProvider
from blindrelay.testing.dialects import ChatCompletions, dialect_of

KEPT_REQUESTS: Final = 1_000
"""How many requests GET /scripted/requests shows at most."""

_PARIS: Final = "The capital of France is Paris."
_OTHERWISE: Final = "This answer was written before the question was asked."
_ANSWERED_ELSEWHERE: Final = frozenset({"/v1/models", "/v1/embeddings", "/v1/messages/count_tokens"})
"""Paths without a text that blindrelay.testing's provider answers by itself."""


@dataclass(frozen=True)
class Script:
    """How to answer one request: the JSON field "scripted"."""

    text: str | None = None
    """What to say. By default one of two sentences; the one with Paris if asked for the capital of France."""
    digest: str | None = None
    """Say the first 40 hexadecimal digits of this word's SHA-256, which are nowhere before; in errors too."""
    tool: str | None = None
    """Answer a chat that is not streamed with a call of a tool, whose argument is this word's digest."""
    echo: bool = False
    """Say, as JSON, what was received: method, path, headers, and the body's size and SHA-256."""
    answer_bytes: int | None = None
    """Say this many times "x"."""
    status: int = 200
    """From 400 on, the response is an error in the API's shape."""
    headers: dict[str, str] = field(default_factory=dict)
    """More headers of the response."""
    hold: str | None = None
    """Send the head and all but the last piece, then wait until this gate is released."""
    break_after: int | None = None
    """Close the connection after so many pieces."""
    first_piece_seconds: float = 0.0
    pieces_per_second: float | None = None
    """As fast as possible by default."""


class DirectedProvider:
    """Replies as requests tell it to; lists them for observers."""

    def __init__(self) -> None:
        self.provider = ScriptedProvider(keep_bodies=False)
        self.provider.answer_with(self._reply)
        self._gates: defaultdict[str, Gate] = defaultdict(Gate)
        self._seen: deque[tuple[dict[str, Any], ReceivedRequest]] = deque(maxlen=KEPT_REQUESTS)

    def _reply(self, request: ReceivedRequest) -> Reply:
        self.provider.requests.clear()  # what is shown is in _seen
        if request.path == "/health":
            return Reply(json={"status": "ok"})
        if request.path.startswith("/scripted/"):
            return self._control(request)
        summary = _summary(request)
        self._seen.append((summary, request))
        try:
            script = Script(**_directions(request))
        except (TypeError, ValueError) as error:
            return Reply(json={"error": {"message": f"scripted: {error}"}}, status=400)
        return self._directed(script, request, summary)

    def _control(self, request: ReceivedRequest) -> Reply:
        if request.path == "/scripted/requests":
            return Reply(json=[{**summary, "outcome": seen.outcome} for summary, seen in self._seen])
        if request.path == "/scripted/release":
            self._gates[request.json_object()["gate"]].release()
            return Reply(json={})
        return Reply(json={"error": {"message": f"there is no {request.path}"}}, status=404)

    def _directed(self, script: Script, request: ReceivedRequest, summary: dict[str, Any]) -> Reply:
        return Reply(
            **_said(script, request, summary),
            status=script.status,
            headers=script.headers,
            delay=script.first_piece_seconds,
            pause=1 / script.pieces_per_second if script.pieces_per_second else 0.0,
            hold=None if script.hold is None else self._gates[script.hold],
            cut_after=script.break_after,
        )


def _said(script: Script, request: ReceivedRequest, summary: dict[str, Any]) -> dict[str, Any]:
    """The text or the JSON body of a Reply."""
    dialect = dialect_of(request.path)
    digest = None if script.digest is None else _digested(script.digest)
    if script.status >= 400:
        return {"text": digest or f"scripted {script.status}"}
    if dialect is None and request.path not in _ANSWERED_ELSEWHERE:
        return {"json": summary}
    if script.tool is not None and isinstance(dialect, ChatCompletions):
        return {"json": _tool_call(dialect, _digested(script.tool))}
    if script.answer_bytes is not None:
        return {"text": "x" * script.answer_bytes}
    if digest is not None:
        return {"text": f"{digest} is the answer."}
    if script.echo:
        return {"text": json.dumps(summary)}
    asked_for_paris = b"capital of France" in request.body
    return {"text": script.text if script.text is not None else _PARIS if asked_for_paris else _OTHERWISE}


def _tool_call(dialect: ChatCompletions, argument: str) -> dict[str, Any]:
    function = {"name": "look_up", "arguments": json.dumps({"word": argument})}
    call = {"id": "call_scripted", "type": "function", "function": function}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls", "logprobs": None}
    return {**dialect.whole(""), "choices": [choice]}


def _directions(request: ReceivedRequest) -> dict[str, Any]:
    """The fields of the Script. Raises ValueError for a query that is not JSON."""
    body = request.json_object()
    if "scripted" in body:
        return dict(body["scripted"])
    query = parse_qs(request.target.partition("?")[2])
    script = json.loads(query.get("scripted", ["{}"])[0])
    return script if isinstance(script, dict) else {}


def _digested(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()[:40]


def _summary(request: ReceivedRequest) -> dict[str, Any]:
    return {
        "method": request.method,
        "path": request.target,
        "headers": request.headers,
        "body_bytes": len(request.body),
        "body_sha256": hashlib.sha256(request.body).hexdigest(),
    }


async def _serve(port: int) -> None:
    async with DirectedProvider().provider.running(port) as origin:
        sys.stdout.write(json.dumps({"listening": origin.removeprefix("http://")}) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> int:
    """Serves until SIGTERM. Returns 1 if the port is taken."""
    parser = argparse.ArgumentParser(prog="scripted_provider", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    try:
        asyncio.run(_serve(parser.parse_args().port))
    except OSError as error:
        sys.stderr.write(f"scripted_provider: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
