"""What comes back: a provider's headers at the bridge, a hostile bridge's head and error at the client."""

from __future__ import annotations

import json
from typing import Any, Final

import httpx
import httpx2

from blindrelay.client.error_mapping import raised_in_body, response_or_raise
from blindrelay.client.errors import BridgeError, CutResponseError
from blindrelay.client.httpx_compat import response
from blindrelay.provider_bridge.policy.headers import HeaderError, response_headers
from blindrelay.provider_bridge.upstream.provider_call import body_end
from blindrelay.v1.inner_pb2 import (
    BODY_END_CHUNKED,
    BODY_END_CLOSE,
    BODY_END_LENGTH,
    BodyEnd,
    ErrorCode,
    ExchangeError,
    Execution,
    Header,
    ResponseHead,
)

from ..alter import altered_message
from ..tape import Tape, written
from ..target import Target, check

_NAMES_TEXT: Final = """
Content-Type content-length Connection Transfer-Encoding set-cookie keep-alive alt-svc openai-organization
x-ratelimit-remaining retry-after upgrade
"""
_NAMES: Final = tuple(_NAMES_TEXT.encode().split())
_NEVER_TEXT: Final = """
alt-svc anthropic-organization-id connection keep-alive openai-organization proxy-authenticate set-cookie
te trailer transfer-encoding upgrade
"""
_NEVER: Final = set(_NEVER_TEXT.encode().split())
_REQUESTS: Final = tuple(
    library.Request("POST", address)
    for library in (httpx, httpx2)
    for address in (
        "https://api.openai.com/v1/responses",
        "https://api.anthropic.com/v1/messages",
        "https://generativelanguage.googleapis.com/v1beta/models/g:generateContent",
    )
)


def response_header(data: bytes) -> None:
    """A provider's headers: none goes back that is for this hop, a cookie, or able to end the head."""
    tape = Tape(data)
    method, status = tape.choice(("GET", "HEAD", "POST")), 200 + tape.byte()
    received: list[tuple[bytes, bytes]] = []
    while not tape.spent and len(received) < 70:
        received.append((tape.chunk() if tape.byte() > 0xC0 else tape.choice(_NAMES), tape.chunk()))
    end = body_end(method, status, received)
    passed = response_headers(received, chunked=end == BODY_END_CHUNKED)
    names = {name for name, _ in passed}
    check(not names & _NEVER, "no header of this hop, cookie or account")
    check(not names & _nominated(received), "nothing that connection names")
    check(all(name == name.lower() for name in names), "names in lower case")
    check(not any(set(b"\r\n\0") & set(value) for _, value in passed), "no CR, LF or NUL")
    check(end != BODY_END_CHUNKED or b"content-length" not in names, "no length beside chunks")
    _check_end(end, {name.lower() for name, _ in received})


def _nominated(received: list[tuple[bytes, bytes]]) -> set[bytes]:
    listed = [value.split(b",") for name, value in received if name.lower() == b"connection"]
    return {name.strip().lower() for names in listed for name in names}


def _check_end(end: BodyEnd.ValueType, names: set[bytes]) -> None:
    check(end != BODY_END_LENGTH or b"content-length" in names, "a length that was given")
    check(
        end != BODY_END_CLOSE or not {b"content-length", b"transfer-encoding"} & names, "no end but closing"
    )


def response_head(data: bytes) -> None:
    """An authentic head of any content, as the response of the application's library."""
    tape = Tape(data)
    head = altered_message(tape, _HEAD)
    if not 200 <= head.status <= 599:
        return  # refused before: see response_parts
    given = [(header.name, header.value) for header in head.headers]
    for request in _REQUESTS[::3]:
        made = response(request, head.status, given, b"")
        check(made.status_code == head.status and made.headers.raw == given, "status and headers as given")
        check(str(made.headers) and made.headers.get("x", "") is not None, "headers that can be read")


def sealed_error(data: bytes) -> None:
    """An authentic error of any content: a response as the SDK expects it, or its library's exception."""
    tape = Tape(data)
    request = tape.choice(_REQUESTS)
    error = BridgeError(altered_message(tape, _ERROR))
    check(error.code in ErrorCode.values()[1:], "a code that is known")
    check(error.execution in Execution.values()[1:], "an execution that is known")
    for each in (error, CutResponseError(str(error))):
        check(isinstance(raised_in_body(each, request), _HTTP_ERRORS), "an exception of the library")
        try:
            _check_response(response_or_raise(each, request), str(each))
        except _HTTP_ERRORS as raised:
            check(str(raised) == str(each), "the same sentence")


def _check_response(made: Any, sentence: str) -> None:
    check(400 <= made.status_code <= 599, "a response that says no")
    check(made.headers["x-blindrelay-error"].isascii(), "marked as ours")
    check(json.loads(made.content)["error"]["message"] == f"BlindRelay: {sentence}", "the whole sentence")


_HTTP_ERRORS: Final = (httpx.HTTPError, httpx2.HTTPError)
_HEAD: Final = ResponseHead(
    status=200, headers=[Header(name=b"content-type", value=b"text/plain; charset=x")]
)
_ERROR: Final = ExchangeError(code=ErrorCode.ERROR_CODE_NOT_ALLOWED, message="no")

TARGETS = (
    Target(
        "response_header",
        response_header,
        (HeaderError,),
        lambda: [written(0, 0, 0, 0, b"text/event-stream", 0, 2, b"close, retry-after", 0, 9, b"1")],
        1_024,
    ),
    Target("response_head", response_head, (), lambda: [written(0, 2, 0, 2, 0, 1)], 512),
    Target("sealed_error", sealed_error, (), lambda: [written(0, 0, 0)], 512),
)
