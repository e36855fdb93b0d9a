"""Which parts of a request are sealed, and which are dropped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from blindrelay.client import ConnectionConfig, RequestError, SealedTransport
from blindrelay.client.request_head import request_head
from blindrelay.v1.inner_pb2 import RequestHead

from .conftest import BROUGHT, INJECTED, LIBRARIES

FOR_THE_PROVIDER = dict.fromkeys(
    ("Accept", "anthropic-beta", "anthropic-version", "Content-Encoding", "Content-Type"), "1"
)

CREDENTIALS = {
    "Authorization": "Bearer sk-secret",
    "X-Api-Key": "sk-secret",
    "x-goog-api-key": "sk-secret",
    "OpenAI-Organization": "org-1",
    "amz-sdk-invocation-id": "i",
    "amz-sdk-request": "attempt=1",
    "x-amz-user-agent": "aws-sdk-js",
}
"""With what is signed."""

DROPPED = [
    *("User-Agent", "X-Stainless-OS", "X-Stainless-Retry-Count", "X-Fern-Platform", "x-goog-api-client"),
    *("Cookie", "Accept-Encoding", "traceparent", "tracestate", "baggage", "X-Request-Id"),
    *("X-Client-Request-Id", "HTTP-Referer", "X-Title", "originator", "session_id", "conversation_id"),
    *("x-codex-turn-metadata", "x-app", "X-Claude-Code-Session-Id", "sec-fetch-mode", "Origin", "Referer"),
    *("X-Forwarded-For", "X-Hop", "Expect", "X-Server-Timeout"),
]

SENT = dict.fromkeys(DROPPED, "1") | CREDENTIALS | FOR_THE_PROVIDER | {"Connection": "keep-alive, X-Hop"}


def names(head: RequestHead) -> set[str]:
    return {header.name.decode() for header in head.headers}


def lower(*groups: Iterable[str]) -> set[str]:
    return {name.lower() for group in groups for name in group}


@LIBRARIES
def test_only_listed_headers_are_sent(library: Any) -> None:
    request = library.Request("POST", "https://api.example/v1/x", headers=SENT)
    head = request_head(request, INJECTED)
    assert names(head) == lower(FOR_THE_PROVIDER)
    assert b"sk-secret" not in head.SerializeToString()


NEEDED = {
    "Range": "bytes=0-99",
    "If-Match": '"etag"',
    "X-Amz-Date": "20261122T000000Z",
    "Date": "Sun, 22 Nov 2026 00:00:00 GMT",
    "X-Custom": "1",
    "X-HTTP-Method-Override": "DELETE",
}


@pytest.mark.parametrize("name", NEEDED)
def test_unknown_header_is_refused_by_name(name: str) -> None:
    request = httpx2.Request("POST", "https://api.example/v1/x", headers={name: NEEDED[name]})
    message = rf"{name.lower()} .* headers={name.lower()} .*credentials=brought"
    with pytest.raises(RequestError, match=message):
        request_head(request, INJECTED)


def test_credentials_and_unknown_headers_pass_with_a_brought_credential() -> None:
    request = httpx2.Request("GET", "https://api.example/v1/x?key=k", headers=NEEDED | SENT)
    head = request_head(request, BROUGHT)
    values = {header.name.decode(): header.value.decode() for header in head.headers}
    assert values.items() >= {name.lower(): value for name, value in NEEDED.items()}.items()
    assert names(head) == lower(NEEDED, CREDENTIALS, FOR_THE_PROVIDER)
    assert head.url == "https://api.example/v1/x?key=k"


@pytest.mark.parametrize("connection", [INJECTED, BROUGHT])
def test_configured_header_is_sent(connection: ConnectionConfig) -> None:
    named = replace(connection, headers=frozenset({"x-title", "x-custom"}))
    request = httpx2.Request("GET", "https://api.example/v1/x", headers={"X-Title": "a", "X-Custom": "b"})
    assert names(request_head(request, named)) == {"x-custom", "x-title"}


def test_refused_header_is_a_response_with_advice() -> None:
    with SealedTransport(replace(INJECTED, history=False)) as transport, transport.httpx2_client() as client:
        answer = client.get("https://api.openai.com/v1/models", headers={"Range": "bytes=0-1"})
    assert (answer.status_code, answer.headers["x-blindrelay-error"]) == (400, "client/request")
    assert "the bridge does not pass on the header range" in answer.json()["error"]["message"]


@LIBRARIES
@pytest.mark.parametrize(
    ("sent", "sealed"),
    [
        ("/v1/models?client_version=0.121.0&limit=1", "/v1/models?limit=1"),
        ("/v1/models/llama3:8b", "/v1/models/llama3:8b"),
        ("/v1/models/org%2Fname", "/v1/models/org%2Fname"),
        ("/model/arn%3Aaws%3Ab/converse", "/model/arn%3Aaws%3Ab/converse"),
        # Some SDKs put the name of a function there, and a bridge refuses it.
        ("/v1/x?alt=sse#stream", "/v1/x?alt=sse"),
        ("/v1/a%23b/c%3Fd?x=%23#", "/v1/a%23b/c%3Fd?x=%23"),
    ],
)
def test_url_is_sealed_without_what_the_provider_does_not_need(library: Any, sent: str, sealed: str) -> None:
    request = library.Request("GET", f"https://api.example{sent}")
    for connection in (INJECTED, BROUGHT):
        assert request_head(request, connection).url == f"https://api.example{sealed}"


def test_key_in_the_url_is_dropped() -> None:
    request = httpx2.Request("GET", "https://api.example/v1/x?alt=sse&Key=secret&access_token=secret")
    assert request_head(request, INJECTED).url == "https://api.example/v1/x?alt=sse"


def test_idempotency_key_does_not_name_the_sdk() -> None:
    def keys_of(value: str, connection: ConnectionConfig = BROUGHT) -> list[bytes]:
        request = httpx2.Request("POST", "https://api.example/v1/x", headers={"Idempotency-Key": value})
        return [header.value for header in request_head(request, connection).headers]

    (first,), (again,), (second,) = (keys_of(f"stainless-python-retry-{number}") for number in (1, 1, 2))
    assert b"stainless" not in first
    assert first == again != second
    assert keys_of("order-1", INJECTED) == []
