"""A provider that says what the request tells it to: for tests, the bench, and where llama.cpp has no wheel.

    python -m blindrelay.testbed.scripted_provider [--port PORT]

It serves /v1/chat/completions, /v1/responses and /v1/messages (whole and streamed), /v1/embeddings and
/v1/models; whatever else is asked for is answered with an echo of the request. The field "scripted" of a
request's JSON body, or of its query, directs the response (see Script). Two more paths are for observers:

    POST /scripted/release {"gate": NAME}   lets the responses that wait at a gate go on
    GET /scripted/requests                  what was received, and how each response ended

When it listens it prints {"listening": "127.0.0.1:PORT"}, and it ends with SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs

from blindrelay.testbed.scripted_dialects import DIALECTS, Dialect, embeddings, models
from blindrelay.testbed.scripted_http import MAX_HEAD, BreakOffError, Connection, Request, Response

KEPT_REQUESTS: Final = 1_000
"""How many requests GET /scripted/requests shows at most."""

Piece = TypeVar("Piece")

_BLOCK: Final = 65_536
_FILLER: Final = "\N{LOWER ONE EIGHTH BLOCK}"
_PARIS: Final = "The capital of France is Paris."
_OTHERWISE: Final = "This answer was written before the question was asked."


@dataclass(frozen=True)
class Script:
    """How to answer one request: the JSON field "scripted"."""

    text: str | None = None
    """What to say; otherwise one of two sentences: the one with Paris if asked for the capital of France."""
    digest: str | None = None
    """Say the first 40 hexadecimal digits of this word's SHA-256: nobody had them before; in an error too."""
    tool: str | None = None
    """Answer a chat that is not streamed with a call of a tool, whose argument is this word's digest."""
    echo: bool = False
    """Say, as JSON, what was received: method, path, headers, and the body's size and SHA-256."""
    answer_bytes: int | None = None
    """Say this many times "x"."""
    status: int = 200
    """Anything from 400 is answered with an error body in the API's shape."""
    headers: dict[str, str] = field(default_factory=dict)
    """More headers of the response."""
    hold: str | None = None
    """Send the head and all but the last piece, then wait until this gate is released."""
    break_after: int | None = None
    """Close the connection after so many pieces."""
    first_piece_seconds: float = 0.0
    pieces_per_second: float | None = None
    """As fast as possible, if not given."""


class ScriptedProvider:
    """Answers requests; remembers what they were."""

    def __init__(self) -> None:
        self._gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._requests: deque[dict[str, Any]] = deque(maxlen=KEPT_REQUESTS)

    def response(self, request: Request) -> Response:
        if request.path.startswith("/scripted/"):
            return self._control(request)
        if request.path == "/health":
            return _json_response({"status": "ok"})
        entry = {**_seen(request), "outcome": "open"}
        self._requests.append(entry)
        return replace(self._scripted(request), ended=partial(entry.__setitem__, "outcome"))

    def _control(self, request: Request) -> Response:
        if request.path == "/scripted/requests":
            return _json_response(list(self._requests))
        if request.path == "/scripted/release":
            self._gates[_json_object(request)["gate"]].set()
            return _json_response({})
        return _json_response({"error": {"message": f"there is no {request.path}"}}, status=404)

    def _scripted(self, request: Request) -> Response:
        body = _json_object(request)
        try:
            script = Script(**body.get("scripted", _in_query(request)))
        except (TypeError, ValueError) as error:
            return _json_response({"error": {"message": f"scripted: {error}"}}, status=400)
        dialect = DIALECTS.get(request.path)
        if script.status >= 400:
            shape = dialect or DIALECTS["/v1/chat/completions"]
            said = _digested(script.digest) if script.digest is not None else f"scripted {script.status}"
            return self._at_once(shape.error(said), script)
        if dialect is None:
            return self._at_once(_plain_response(request, body), script)
        if script.tool is not None:
            return self._at_once(dialect.tool_call(_digested(script.tool)), script)
        if body.get("stream"):
            pieces = self._direct(_events(dialect, _said(request, body, script)), script)
            return Response(pieces, None, script.status, "text/event-stream", script.headers)
        blocks = list(_whole(dialect, _said(request, body, script)))
        length = sum(map(len, blocks))
        return Response(self._direct(iter(blocks), script), length, script.status, headers=script.headers)

    def _at_once(self, body: object, script: Script) -> Response:
        """A JSON response, its last byte being a piece of its own."""
        encoded = json.dumps(body).encode()
        pieces = self._direct(iter([encoded[:-1], encoded[-1:]]), script)
        return Response(pieces, len(encoded), script.status, headers=script.headers)

    async def _direct(self, pieces: Iterator[bytes], script: Script) -> AsyncIterator[bytes]:
        """The pieces, at the pace, up to the gate and to the break that the script wants."""
        await asyncio.sleep(script.first_piece_seconds)
        pause = 1 / script.pieces_per_second if script.pieces_per_second else 0.0
        for sent, (piece, is_last) in enumerate(_mark_last(pieces)):
            if sent == script.break_after:
                raise BreakOffError
            if is_last and script.hold is not None:
                await self._gates[script.hold].wait()
            if sent:
                await asyncio.sleep(pause)
            yield piece


def _said(request: Request, body: dict[str, Any], script: Script) -> Iterator[str]:
    """The text of the response, in pieces."""
    if script.answer_bytes is not None:
        full, rest = divmod(script.answer_bytes, _BLOCK)
        yield from ["x" * _BLOCK] * full
        yield "x" * rest
        return
    text = script.text
    if script.digest is not None:
        text = f"{_digested(script.digest)} is the answer."
    elif script.echo:
        text = json.dumps(_seen(request))
    elif text is None:
        text = _PARIS if "capital of France" in json.dumps(body) else _OTHERWISE
    first, *others = text.split(" ")
    yield first
    yield from (" " + word for word in others)


def _events(dialect: Dialect, said: Iterator[str]) -> Iterator[bytes]:
    """Server-sent events: one piece for each piece of text, the frame in the first and the last."""
    before = dialect.opening()
    text = []
    for piece, is_last in _mark_last(said):
        text.append(piece)
        yield before + dialect.piece(piece) + (dialect.closing("".join(text)) if is_last else b"")
        before = b""


def _whole(dialect: Dialect, said: Iterator[str]) -> Iterator[bytes]:
    """A JSON body around the text. The text is never joined: it may be many MiB."""
    before, _, after = json.dumps(dialect.whole(_FILLER), ensure_ascii=False).partition(_FILLER)
    yield before.encode()
    for piece in said:
        yield json.dumps(piece)[1:-1].encode()
    yield after.encode()


def _digested(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()[:40]


def _plain_response(request: Request, body: dict[str, Any]) -> dict[str, Any]:
    if request.path == "/v1/models":
        return models()
    if request.path == "/v1/embeddings":
        given = body.get("input", "")
        return embeddings(given if isinstance(given, list) else [given])
    if request.path == "/v1/messages/count_tokens":
        return {"input_tokens": 1}
    return _seen(request)


def _seen(request: Request) -> dict[str, Any]:
    return {
        "method": request.method,
        "path": request.target,
        "headers": request.headers,
        "body_bytes": len(request.body),
        "body_sha256": hashlib.sha256(request.body).hexdigest(),
    }


def _mark_last(pieces: Iterator[Piece]) -> Iterator[tuple[Piece, bool]]:
    previous = next(pieces)
    for piece in pieces:
        yield previous, False
        previous = piece
    yield previous, True


def _json_object(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(request.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _in_query(request: Request) -> dict[str, Any]:
    query = parse_qs(request.target.partition("?")[2])
    script = json.loads(query.get("scripted", ["{}"])[0])
    return script if isinstance(script, dict) else {}


def _json_response(body: object, status: int = 200) -> Response:
    encoded = json.dumps(body).encode()

    async def pieces() -> AsyncIterator[bytes]:
        yield encoded

    return Response(pieces(), len(encoded), status)


async def _serve(port: int) -> None:
    provider = ScriptedProvider()
    connection = Connection(provider.response)
    server = await asyncio.start_server(connection.serve, "127.0.0.1", port, limit=MAX_HEAD)
    host, bound = server.sockets[0].getsockname()
    sys.stdout.write(json.dumps({"listening": f"{host}:{bound}"}) + "\n")
    sys.stdout.flush()
    await server.serve_forever()


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
