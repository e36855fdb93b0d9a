"""What a program has to do with a real relay and bridge. It is judged at the provider and at the relay."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from blindrelay.testing.conformance import tampering
from blindrelay.testing.conformance.check import short
from blindrelay.testing.conformance.live_program import QUESTION, WORDS, LiveProgram, UnsupportedError
from blindrelay.testing.conformance.program import Answer, ProgramError
from blindrelay.testing.conformance.relayed_requests import wrong_with, wrong_with_all
from blindrelay.testing.conformance.tampering import Tamper
from blindrelay.v1.inner_pb2 import (
    ERROR_CODE_NOT_ALLOWED,
    ERROR_CODE_PROVIDER_FAILED,
    EXECUTION_NOT_STARTED,
    EXECUTION_STARTED,
)

_NOT_SERVED: Final = "https://api.openai.com/v1/organization/admin_api_keys"
_STREAMED: Final = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"my secret question"}]}'
_ANSWER: Final = {"choices": [{"message": {"role": "assistant", "content": "my secret answer"}}]}
_END_OF_STREAM: Final = b"data: [DONE]\n\n"
_LONG: Final = " ".join(["x" * 70_000] * 4)
"""It fills at least four records, however its pieces arrive."""

_MEBIBYTE: Final = 1_048_576

_END_SECONDS: Final = 30.0
_PAUSE: Final = 0.05
_CLOCK_STEP: Final = 1.5
"""Seconds after which a replica that starts has a later `started_at`, which is in whole seconds."""


def _chat(live: LiveProgram) -> str | None:
    live.relay.provider.reply(json=_ANSWER)
    answer, body = live.fetch()
    return _is_complete(answer) or _is_body(body, json.dumps(_ANSWER).encode()) or _arrived(live, QUESTION)


def _stream(live: LiveProgram) -> str | None:
    """The last piece leaves the provider only when the program has shown the first."""
    shown: list[bytes] = []
    with live.held() as gate:

        def on_piece(piece: bytes) -> None:
            shown.append(piece)
            gate.release()

        try:
            answer, body = live.fetch(_STREAMED, on_piece=on_piece)
        except ProgramError as error:
            if shown:
                raise
            raise ProgramError(f"{error}: no piece came while the provider was still sending") from None
    if not body.endswith(_END_OF_STREAM):
        return f"the body does not end with {_END_OF_STREAM!r}: {body[-40:]!r}"
    return _is_complete(answer) or _arrived(live, _STREAMED)


def _upload(live: LiveProgram) -> str | None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * _MEBIBYTE}]}).encode()
    live.relay.provider.reply(json=_ANSWER)
    answer, _ = live.fetch(body)
    return _is_complete(answer) or _arrived(live, body)


def _provider_error(live: LiveProgram) -> str | None:
    """It is the provider's own response, and no failure of the exchange."""
    live.relay.provider.reply("slow down", status=429)
    answer, body = live.fetch()
    return _is_complete(answer, 429) or (None if b"slow down" in body else f"the body is {body[:80]!r}")


def _sealed_error(live: LiveProgram) -> str | None:
    answer, _ = live.fetch(url=_NOT_SERVED)
    if live.received:
        return "the provider was asked"
    return _is_sealed_error(answer, ERROR_CODE_NOT_ALLOWED, EXECUTION_NOT_STARTED)


def _broken_off(live: LiveProgram) -> str | None:
    """The bridge says, sealed, that the response is not whole."""
    live.relay.provider.reply(WORDS, cut_after=3)
    answer, _ = live.fetch(_STREAMED)
    return _is_sealed_error(answer, ERROR_CODE_PROVIDER_FAILED, EXECUTION_STARTED)


def _abort(live: LiveProgram) -> str | None:
    """The program gives up after the first piece, and the provider sees it go."""
    with live.held():
        answer, _ = live.fetch(_STREAMED, abort=True)
        if wrong := _has_outcome(answer, "aborted"):
            return wrong
        end = time.monotonic() + _END_SECONDS
        while any(request.outcome == "open" for request in live.received) and time.monotonic() < end:
            time.sleep(_PAUSE)
        outcomes = [request.outcome for request in live.received]
    return None if outcomes == ["abandoned"] else f"the provider's responses ended as {short(outcomes)}"


def _restart(live: LiveProgram) -> str | None:
    """The key that the program knows is gone with the bridge. It seals again to a new one."""
    live.fetch()
    time.sleep(_CLOCK_STEP)
    live.relay.restart_bridge()
    answer, _ = live.fetch()
    return _is_complete(answer) or _arrived(live, QUESTION)


def _foreign_identity(live: LiveProgram) -> str | None:
    """The relay serves the directories of another bridge than the pinned one."""
    before = len(live.relay.view)
    answer, _ = live.fetch(connection=live.relay.foreign_connection)
    if len(live.relay.view) != before:
        return "an exchange was sent to a bridge that is not the pinned one"
    return _has_outcome(answer, "failed")


def _tampered(tamper: Tamper, live: LiveProgram) -> str | None:
    """The relay tampers with a response of several records, which the program must not say is complete."""
    live.relay.provider.reply(_LONG)
    live.relay.tampering.tamper = tamper
    try:
        answer, body = live.fetch(_STREAMED)
    finally:
        live.relay.tampering.tamper = tampering.as_they_are
    if _END_OF_STREAM in body:
        return "the program showed the end of a response that it did not get"
    return _has_outcome(answer, "failed")


def _earlier_response(live: LiveProgram) -> str | None:
    live.relay.provider.reply(_LONG)
    answer, _ = live.fetch(_STREAMED)
    earlier = live.relay.view[-1].response_messages
    return _is_complete(answer) or _tampered(tampering.response_of(earlier), live)


def _fresh(live: LiveProgram) -> str | None:
    """What the relay saw of all these exchanges."""
    if not live.relay.view:
        raise UnsupportedError
    return wrong_with_all(live.relay.view)


def _arrived(live: LiveProgram, body: bytes) -> str | None:
    """Whether the provider got the last request whole, and the relay only its records."""
    if len(live.received) != 1:
        return f"the provider was asked {len(live.received)} times"
    (request,) = live.received
    if (request.method, request.path) != ("POST", "/v1/chat/completions"):
        return f"the provider was asked for {request.method} {request.target}"
    if dict(request.headers).get("content-type") != "application/json":
        return "the provider did not get the header content-type"
    if request.body != body:
        return f"the provider got {len(request.body)} bytes that are not the body of {len(body)}"
    exchange = live.relay.view[-1]
    return "the relay could read the request" if body[:64] in exchange else wrong_with(exchange)


def _is_complete(answer: Answer, status: int = 200) -> str | None:
    return _has_outcome(answer, "complete") or _has(answer, "status", status)


def _is_sealed_error(answer: Answer, code: int, execution: int) -> str | None:
    return _has_outcome(answer, "error") or _has(answer, "code", code) or _has(answer, "execution", execution)


def _has_outcome(answer: Answer, expected: str) -> str | None:
    return _has(answer, "outcome", expected)


def _has(answer: Answer, name: str, expected: Any) -> str | None:
    if answer.get(name) == expected:
        return None
    return f"{name} should be {short(expected)}, and the answer is {short(answer)}"


def _is_body(body: bytes, expected: bytes) -> str | None:
    return None if body == expected else f"the body is {body[:80]!r} and should be {expected[:80]!r}"


LIVE_CHECKS: Final[dict[str, Callable[[LiveProgram], str | None]]] = {
    "live/chat": _chat,
    "live/stream": _stream,
    "live/upload_1_mib": _upload,
    "live/provider_error": _provider_error,
    "live/sealed_error": _sealed_error,
    "live/provider_breaks_off": _broken_off,
    "live/abort": _abort,
    "live/response_missing": partial(_tampered, tampering.nothing),
    "live/response_cut": partial(_tampered, tampering.cut),
    "live/records_swapped": partial(_tampered, tampering.swapped),
    "live/record_dropped": partial(_tampered, tampering.dropped),
    "live/record_repeated": partial(_tampered, tampering.repeated),
    "live/record_altered": partial(_tampered, tampering.altered),
    "live/earlier_response": _earlier_response,
    "live/foreign_identity": _foreign_identity,
    "live/bridge_restart": _restart,
    "live/requests_alike": _fresh,
}
