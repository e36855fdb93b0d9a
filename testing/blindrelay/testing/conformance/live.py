"""The questions about a real relay and bridge. What can be seen at the provider and at the relay is judged there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from blindrelay.sealing.padding import padme
from blindrelay.testing.conformance import tampering
from blindrelay.testing.conformance.check import Outcome, short
from blindrelay.testing.conformance.live_relay import LiveRelay
from blindrelay.testing.conformance.program import Answer, OnPiece, Program, ProgramError
from blindrelay.testing.conformance.tampering import Tamper
from blindrelay.testing.relay_view import RelayedExchange
from blindrelay.testing.replies import Gate
from blindrelay.v1.exchange_pb2 import ExchangeRequest
from blindrelay.v1.inner_pb2 import (
    ERROR_CODE_NOT_ALLOWED,
    ERROR_CODE_PROVIDER_FAILED,
    EXECUTION_NOT_STARTED,
    EXECUTION_STARTED,
)
from blindrelay.v1.limits import DEFAULT_MAX_UNITS, ENCAPSULATED_SECRET_SIZE

_CHAT: Final = "https://api.openai.com/v1/chat/completions"
_NOT_SERVED: Final = "https://api.openai.com/v1/organization/admin_api_keys"
_QUESTION: Final = b'{"model":"m","messages":[{"role":"user","content":"my secret question"}]}'
_STREAMED: Final = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"my secret question"}]}'
_ANSWER: Final = {"choices": [{"message": {"role": "assistant", "content": "my secret answer"}}]}
_WORDS: Final = "one two three four five six seven eight nine ten"
_END_OF_STREAM: Final = b"data: [DONE]\n\n"

_FULL_RECORD: Final = 65_616
_LAST_RECORD: Final = _FULL_RECORD + 19
_FLOOR: Final = 4_096
_MEBIBYTE: Final = 1_048_576

_END_SECONDS: Final = 15.0
_CLOCK_STEP: Final = 1.5
"""Seconds after which a replica that starts has a later `started_at`: it is in whole seconds."""


class _UnsupportedError(Exception):
    """The program does not know the question."""


class _Live:
    """A program that uses a live relay."""

    def __init__(self, relay: LiveRelay, program: Program) -> None:
        self.relay = relay
        self._program = program

    def fetch(
        self,
        body: bytes = _QUESTION,
        *,
        url: str = _CHAT,
        connection: str | None = None,
        abort: bool = False,
        on_piece: OnPiece = lambda _: None,
    ) -> tuple[Answer, bytes]:
        """What the program says of a request, and the response's body. Raises ProgramError, _UnsupportedError."""
        pieces: list[bytes] = []

        def keep(piece: bytes) -> None:
            pieces.append(piece)
            on_piece(piece)

        request = {"method": "POST", "url": url, "headers": [["content-type", "application/json"]]}
        question = {"question": "fetch", "connection": connection or self.relay.connection, **request}
        answer = self._program.ask({**question, "body": body.hex(), "abort": abort}, keep)
        if answer.get("unsupported") is True:
            raise _UnsupportedError
        return answer, b"".join(pieces)

    @contextmanager
    def held(self, words: str = _WORDS) -> Iterator[Gate]:
        """The next response is streamed, and its last piece waits for the gate."""
        gate = Gate()
        self.relay.provider.reply(words, hold=gate)
        try:
            yield gate
        finally:
            gate.release()


def run_live(program: Program) -> Outcome:
    """Has a program use a relay, in good and in bad times. Raises OSError if it cannot be started."""
    outcome = Outcome()
    with LiveRelay() as relay:
        live = _Live(relay, program)
        for name, check in _CHECKS.items():
            try:
                wrong = check(live)
            except _UnsupportedError:
                outcome.unsupported["live"] += 1
            except (ProgramError, AttributeError, KeyError, TypeError, ValueError) as error:
                outcome.failed[f"live/{name}"] = str(error)
            else:
                outcome.note("live", f"live/{name}", wrong)
    return outcome


def _chat(live: _Live) -> str | None:
    live.relay.provider.reply(json=_ANSWER)
    answer, body = live.fetch()
    return _is_complete(answer) or _is_body(body, json.dumps(_ANSWER).encode()) or _arrived(live, _QUESTION)


def _stream(live: _Live) -> str | None:
    """The last piece leaves the provider only when the program has shown the first."""
    shown: list[bytes] = []
    with live.held() as gate:

        def on_piece(piece: bytes) -> None:
            shown.append(piece)
            gate.release()

        try:
            answer, body = live.fetch(_STREAMED, on_piece=on_piece)
        except ProgramError:
            if shown:
                raise
            return "no piece of the body came while the provider was still sending"
    if not body.endswith(_END_OF_STREAM):
        return f"the body does not end with {_END_OF_STREAM!r}: {body[-40:]!r}"
    return _is_complete(answer) or _arrived(live, _STREAMED)


def _upload(live: _Live) -> str | None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * _MEBIBYTE}]}).encode()
    live.relay.provider.reply(json=_ANSWER)
    answer, _ = live.fetch(body)
    return _is_complete(answer) or _arrived(live, body)


def _provider_error(live: _Live) -> str | None:
    """It is the provider's own response, and no failure of the exchange."""
    live.relay.provider.reply("slow down", status=429)
    answer, body = live.fetch()
    return _is_complete(answer, 429) or (None if b"slow down" in body else f"the body is {body[:80]!r}")


def _sealed_error(live: _Live) -> str | None:
    before = len(live.relay.provider.requests)
    answer, _ = live.fetch(url=_NOT_SERVED)
    if len(live.relay.provider.requests) != before:
        return "the provider was asked"
    return _is_sealed_error(answer, ERROR_CODE_NOT_ALLOWED, EXECUTION_NOT_STARTED)


def _broken_off(live: _Live) -> str | None:
    """The bridge says, sealed, that the response is not whole."""
    live.relay.provider.reply(_WORDS, cut_after=3)
    answer, _ = live.fetch(_STREAMED)
    return _is_sealed_error(answer, ERROR_CODE_PROVIDER_FAILED, EXECUTION_STARTED)


def _abort(live: _Live) -> str | None:
    """The program gives up after the first piece, and the provider sees it go."""
    with live.held():
        answer, _ = live.fetch(_STREAMED, abort=True)
        request, end = live.relay.provider.requests[-1], time.monotonic() + _END_SECONDS
        while request.outcome == "open" and time.monotonic() < end:
            time.sleep(0.05)
        if request.outcome != "abandoned":
            return f"the provider's response is {request.outcome} and should be abandoned"
    return _has_outcome(answer, "aborted")


def _restart(live: _Live) -> str | None:
    """The key that the program knows is gone with the bridge. It seals again to a new one."""
    before = len(live.relay.provider.requests)
    live.relay.provider.reply(json=_ANSWER)
    time.sleep(_CLOCK_STEP)
    live.relay.restart_bridge()
    answer, _ = live.fetch()
    if (count := len(live.relay.provider.requests) - before) > 1:
        return f"the provider was asked {count} times"
    return _is_complete(answer)


def _foreign_identity(live: _Live) -> str | None:
    """The relay serves the directories of another bridge than the pinned one."""
    before = len(live.relay.view)
    answer, _ = live.fetch(connection=live.relay.foreign_connection)
    if len(live.relay.view) != before:
        return "an exchange was sent to a bridge that is not the pinned one"
    return _has_outcome(answer, "failed")


def _tampered(tamper: Tamper, live: _Live) -> str | None:
    """The relay tampers with a streamed response: what the program shows of it is authentic, and not whole."""
    live.relay.provider.reply(_WORDS)
    live.relay.tampering.tamper = tamper
    try:
        answer, body = live.fetch(_STREAMED)
    finally:
        live.relay.tampering.tamper = tampering.as_they_are
    if _END_OF_STREAM in body:
        return "the program showed the end of a response that it did not get"
    return _has_outcome(answer, "failed")


def _earlier_response(live: _Live) -> str | None:
    earlier = next(each for each in live.relay.view if len(each.response_messages) > 1)
    return _tampered(tampering.response_of(earlier.response_messages), live)


def _fresh(live: _Live) -> str | None:
    """What the relay saw of all these exchanges: no identifier or secret twice, and nothing that stands out."""
    exchanges = live.relay.view
    if len({exchange.envelope.exchange_id for exchange in exchanges}) != len(exchanges):
        return "an exchange_id was used twice"
    if len({_requests(exchange)[0].encapsulated_secret for exchange in exchanges}) != len(exchanges):
        return "an encapsulated secret was used twice"
    if any(exchange.envelope.max_units != DEFAULT_MAX_UNITS for exchange in exchanges):
        return f"a max_units is not {DEFAULT_MAX_UNITS:,}, and tells the client from others"
    return next(filter(None, map(_wrong_records, exchanges)), None)


def _requests(exchange: RelayedExchange) -> list[ExchangeRequest]:
    return [ExchangeRequest.FromString(message) for message in exchange.request_messages]


def _wrong_records(exchange: RelayedExchange) -> str | None:
    """What is wrong with the records of a request as the relay sees them (section 9.3)."""
    first, *others = _requests(exchange)
    if len(first.encapsulated_secret) != ENCAPSULATED_SECRET_SIZE:
        return f"the first message has an encapsulated secret of {len(first.encapsulated_secret)} bytes"
    if any(message.encapsulated_secret for message in others):
        return "a later message has an encapsulated secret"
    *full, last = (len(message.sealed) for message in (first, *others))
    total = sum(full) + last
    is_padded = total >= _FLOOR and padme(total) == total and last <= _LAST_RECORD
    if any(size != _FULL_RECORD for size in full) or not is_padded:
        return f"a request's records have {short([*full, last])} bytes, which is not how they are padded"
    return None


def _arrived(live: _Live, body: bytes) -> str | None:
    """Whether the provider got the last request as the program was given it, and the relay only its records."""
    request = live.relay.provider.requests[-1]
    if (request.method, request.path) != ("POST", "/v1/chat/completions"):
        return f"the provider was asked for {request.method} {request.target}"
    if dict(request.headers).get("content-type") != "application/json":
        return "the provider did not get the header content-type"
    if request.body != body:
        return f"the provider got {len(request.body)} bytes that are not the body of {len(body)}"
    exchange = live.relay.view[-1]
    return "the relay could read the request" if body[:64] in exchange else _wrong_records(exchange)


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


_CHECKS: Final[dict[str, Callable[[_Live], str | None]]] = {
    "chat": _chat,
    "stream": _stream,
    "upload_1_mib": _upload,
    "provider_error": _provider_error,
    "sealed_error": _sealed_error,
    "provider_breaks_off": _broken_off,
    "abort": _abort,
    "response_missing": partial(_tampered, tampering.nothing),
    "response_cut": partial(_tampered, tampering.cut),
    "records_swapped": partial(_tampered, tampering.swapped),
    "record_dropped": partial(_tampered, tampering.dropped),
    "record_repeated": partial(_tampered, tampering.repeated),
    "record_altered": partial(_tampered, tampering.altered),
    "earlier_response": _earlier_response,
    "foreign_identity": _foreign_identity,
    "bridge_restart": _restart,
    "requests_alike": _fresh,
}
