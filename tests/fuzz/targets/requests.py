"""How the bridge treats the request of a hostile client (spec/protocol.md, sections 11.2 to 11.5)."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import h11
import httpx
from google.protobuf.message import DecodeError

from blindrelay.provider_bridge.credentials import Credential, Secret
from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.policy.headers import (
    HeaderError,
    provider_headers,
    request_headers,
    subprotocols,
)
from blindrelay.provider_bridge.policy.request_policy import PlannedCall, plan_call
from blindrelay.provider_bridge.policy.urls import (
    DEFAULT_PORTS,
    PASSED_PARAMETERS,
    RequestUrl,
    UrlError,
    parse_origin,
    parse_url,
)
from blindrelay.provider_bridge.presets import presets
from blindrelay.provider_bridge.providers import BEARER, Provider
from blindrelay.v1.http_headers import (
    ACCOUNT_HEADERS,
    INJECTED_SUBPROTOCOLS,
    NEVER_SENT,
    REQUEST_HEADERS,
    SUBPROTOCOL,
)
from blindrelay.v1.inner_pb2 import (
    CREDENTIAL_BROUGHT,
    CREDENTIAL_INJECTED,
    EXCHANGE_KIND_EXCHANGE,
    EXCHANGE_KIND_TUNNEL,
    Header,
    RequestHead,
)
from blindrelay.v1.limits import MAX_ERROR_MESSAGE

from ..alter import altered
from ..tape import Tape, written
from ..target import Target, check

_SECRET: Final = (b"authorization", b"Bearer of-the-bridge")
_HOP_HEADERS_TEXT: Final = (
    b"host connection content-length cookie te transfer-encoding upgrade x-forwarded-for"
)
_NAMES: Final = (*sorted(REQUEST_HEADERS | ACCOUNT_HEADERS), SUBPROTOCOL, *_HOP_HEADERS_TEXT.split())
_PROVIDERS: Final = tuple(
    Provider(
        name,
        origin,
        origin,
        Credential(BEARER, Secret(lambda: b"of-the-bridge")),
        preset.injected,
        preset.brought,
        stateless=preset.stateless,
    )
    for name, preset in presets().items()
    for origin in [preset.origin or parse_origin(f"https://{name}.example")]
)


def url(data: bytes) -> None:
    """Any text as a URL: what passes, every other parser reads in the same way."""
    text = data.decode("utf-8", "replace")
    parsed = parse_url(text)
    check(text == f"{text.partition('://')[0]}://{text.split('/')[2]}{parsed.target.decode()}", "exact bytes")
    _check_standard_library(text, parsed)
    _check_httpx(text, parsed)
    segments = unquote(parsed.path).split("/")[1:]
    check(not {"", ".", ".."} & set(segments), "no empty and no dot segment, escaped or not")
    check(not set("\\\0") & set(unquote(parsed.path)), "no backslash and no NUL, escaped or not")
    if parsed.unlisted_parameter() is None:
        for separator in "&;":
            names = {name for name, _ in parse_qsl(parsed.query[1:], True, separator=separator)}
            listed = {name.partition("&")[0].partition(";")[0] for name in names}
            check(listed <= PASSED_PARAMETERS, "every parameter is a listed one, however it is split")


def _check_standard_library(text: str, parsed: RequestUrl) -> None:
    split = urlsplit(text)
    port = split.port or DEFAULT_PORTS[split.scheme]
    host = f"[{split.hostname}]" if ":" in (split.hostname or "") else split.hostname
    check((split.scheme, host, port) == tuple(vars(parsed.origin).values()), "urllib reads the same origin")
    check(split.username is None and split.fragment == "", "no user and no fragment")
    check(split.path == parsed.path and split.query == parsed.query[1:], "urllib reads the same target")
    check(parse_origin(str(parsed.origin)) == parsed.origin, "an origin reads as it is written")


def _check_httpx(text: str, parsed: RequestUrl) -> None:
    try:
        other = httpx.URL(text)
    except httpx.InvalidURL:
        return  # the name is invalid in IDNA; no configured provider has such a name
    check(other.scheme == parsed.origin.scheme, "httpx reads the same scheme")
    check(other.host == parsed.origin.host.strip("[]"), "httpx reads the same host")
    check((other.port or DEFAULT_PORTS[other.scheme]) == parsed.origin.port, "httpx reads the same port")
    check(other.path == unquote(parsed.path), "httpx reads the same path")
    check(not other.userinfo and not other.fragment, "httpx sees no user and no fragment")


def request_header(data: bytes) -> None:
    """Any headers: what passes is on the list, and reaches a server as it was."""
    tape = Tape(data)
    brought, tunnel = tape.flag(), tape.flag()
    given: list[tuple[bytes, bytes]] = []
    while not tape.spent and len(given) < 70:
        given.append((tape.chunk() if tape.byte() > 0xC0 else tape.choice(_NAMES), tape.chunk()))
    passed = request_headers(given, brought=brought, tunnel=tunnel)
    if tunnel:
        offered = {each for name, value in passed if name == SUBPROTOCOL for each in subprotocols(value)}
        check(brought or offered <= INJECTED_SUBPROTOCOLS, "no key among the subprotocols")
    names = {name for name, _ in passed}
    check(brought or names <= REQUEST_HEADERS | {SUBPROTOCOL}, "only what is listed passes")
    check(not names & NEVER_SENT and len(passed) <= 64, "nothing passes that the bridge makes")
    check(sorted(passed) == sorted(given), "nothing is dropped or changed")
    whole = provider_headers("api.openai.com", passed, None if brought else _SECRET, 0)
    _check_on_the_wire("POST", b"/v1/chat/completions", whole)


def request_head(data: bytes) -> None:
    """A sealed head and body: what the bridge would send is one request, to a configured provider."""
    tape = Tape(data)
    head = RequestHead.FromString(altered(tape, tape.choice(_HEADS)))
    try:
        call = plan_call(head, _PROVIDERS)
        if call.check is not None:
            call.check.apply(call.provider.stateless, tape.rest())
    except RequestError as error:
        check(len(error.as_message().message.encode()) <= MAX_ERROR_MESSAGE, "an error is a sentence")
        raise
    check(call.url.origin == call.provider.origin, "a provider that is configured")
    tunnel = head.kind == EXCHANGE_KIND_TUNNEL
    check(call.allowed.matches(head.method, call.url.path, tunnel=tunnel), "a call that is allowed")
    injected = head.credential == CREDENTIAL_INJECTED
    check(call.injected is injected and call.deadline in (60, 600, 3_600, 21_600), "as the head says")
    check(not (injected and call.url.unlisted_parameter()), "no parameter that may carry a credential")
    _check_on_the_wire(call.method, call.url.target, _headers_of(call))


def _headers_of(call: PlannedCall) -> list[tuple[bytes, bytes]]:
    names = [name for name, _ in call.headers]
    check(not (call.injected and set(names) & ACCOUNT_HEADERS), "no credential beside the bridge's")
    size = None if call.method in ("GET", "HEAD", "DELETE") else 0
    secret = _SECRET if call.injected else None
    return provider_headers(call.provider.target.authority, call.headers, secret, size)


def _check_on_the_wire(method: str, target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """A server reads exactly the request that was meant."""
    sent = h11.Connection(h11.CLIENT).send(h11.Request(method=method, target=target, headers=headers))
    server = h11.Connection(h11.SERVER)
    server.receive_data(sent or b"")
    received = server.next_event()
    check(isinstance(received, h11.Request), "a server reads a request")
    if isinstance(received, h11.Request):
        check((received.method, received.target) == (method.encode(), target), "method and target as sent")
        check(list(received.headers) == list(headers), "headers as sent")
    check(isinstance(server.next_event(), h11.EndOfMessage), "and the end of it")
    check(server.trailing_data[0] == b"", "and no second request")


def _head(
    method: str, address: str, kind: bytes = b"application/json", *, brought: bool = False
) -> RequestHead:
    return RequestHead(
        kind=EXCHANGE_KIND_EXCHANGE,
        method=method,
        url=address,
        headers=[Header(name=b"content-type", value=kind)],
        credential=CREDENTIAL_BROUGHT if brought else CREDENTIAL_INJECTED,
    )


_OPENAI: Final = "https://api.openai.com/v1"
_GEMINI: Final = "https://generativelanguage.googleapis.com/v1beta/models/g:generateContent?alt=sse"
_HEADS: Final = (
    _head("POST", f"{_OPENAI}/responses"),
    _head("POST", f"{_OPENAI}/responses", brought=True),
    _head("POST", "https://api.anthropic.com/v1/messages"),
    _head("GET", f"{_OPENAI}/models/gpt?limit=1"),
    _head("POST", f"{_OPENAI}/audio/translations", b"multipart/form-data; boundary=b"),
    _head("POST", _GEMINI),
    RequestHead(
        kind=EXCHANGE_KIND_TUNNEL,
        method="GET",
        url=f"{_OPENAI}/realtime?model=m",
        headers=[Header(name=SUBPROTOCOL, value=b"realtime")],
        credential=CREDENTIAL_INJECTED,
    ),
)
_URLS: Final = (
    b"https://api.openai.com/v1/models/a%20b?limit=2&after=%2F;order=asc",
    b"http://[::1]:8480/v1/chat/completions",
    b"https://a_b.example:65535/v1/x;y=z/[",
    b"https://user@api.openai.com\\@evil.example/%2e%2e/#x",
)

_HEADERS: Final = (
    written(1, 0, 0, 6, b"application/json"),
    written(1, 0, 0, 3, b"Bearer x", 0, 0, b"*/*"),
    written(0, 1, 0, 12, b"realtime, sk-1"),
)
_CALLS: Final = tuple(written(place, 0, 0, b"") + b'{"store":false}' for place in range(len(_HEADS)))
_REFUSALS: Final = (DecodeError, RequestError)  # the opener raises the first before anything is judged

TARGETS = (
    Target("url", url, (UrlError,), lambda: _URLS, 512),
    Target("request_header", request_header, (HeaderError,), lambda: _HEADERS, 1_024),
    Target("request_head", request_head, _REFUSALS, lambda: _CALLS, 1_024),
)
