"""Which parts of a request are sealed, and which are dropped."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import httpx2
import pytest

from blindrelay.client import ConnectionConfig, RequestError, SealedTransport
from blindrelay.client.request_head import request_head
from blindrelay.client.store_false import stateless_body
from blindrelay.trust import IdentityKey, format_identity

IDENTITY = format_identity(IdentityKey.generate().public_key)
INJECTED = ConnectionConfig.from_string(f"blindrelay://t@relay.example?bridge={IDENTITY}")
BROUGHT = ConnectionConfig.from_string(f"blindrelay://t@relay.example?bridge={IDENTITY}&credentials=brought")

SDK_HEADERS = {
    "User-Agent": "OpenAI/Python 3.54.0",
    "X-Stainless-OS": "Linux",
    "X-Stainless-Retry-Count": "1",
    "X-Fern-Platform": "linux/6.18",
    "x-goog-api-client": "google-genai-sdk/3.4.0",
    "Cookie": "session=1",
    "Accept-Encoding": "gzip, deflate",
    "traceparent": "00-1-1-00",
    "tracestate": "a=b",
    "baggage": "user=1",
    "X-Request-Id": "r",
    "X-Client-Request-Id": "r",
    "HTTP-Referer": "https://app.example",
    "X-Title": "app",
    "originator": "codex_cli_rs",
    "session_id": "s",
    "conversation_id": "c",
    "x-codex-turn-metadata": "{}",
    "x-app": "cli",
    "X-Claude-Code-Session-Id": "s",
    "sec-fetch-mode": "cors",
    "Origin": "http://localhost",
    "Referer": "http://localhost",
    "X-Forwarded-For": "192.0.2.1",
    "Connection": "keep-alive, X-Hop",
    "X-Hop": "1",
    "Expect": "100-continue",
    "X-Server-Timeout": "60",
    "Authorization": "Bearer sk-secret",
    "X-Api-Key": "sk-secret",
    "x-goog-api-key": "secret",
    "OpenAI-Organization": "org-1",
    "anthropic-version": "2026-10-21",
    "anthropic-beta": "files",
    "Accept": "application/json",
}


def names(head: Any) -> list[str]:
    return [header.name.decode() for header in head.headers]


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_only_listed_headers_are_sent(library: Any) -> None:
    request = library.Request("POST", "https://api.example/v1/x", json={}, headers=SDK_HEADERS)
    head = request_head(request, INJECTED)
    assert names(head) == ["accept", "anthropic-beta", "anthropic-version", "content-type"]
    assert b"sk-secret" not in head.SerializeToString()


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_content_encoding_passes(library: Any) -> None:
    """Without it the provider would read compressed bytes as JSON."""
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    request = library.Request("POST", "https://api.example/v1/x", content=b"x", headers=headers)
    for connection in (INJECTED, BROUGHT):
        assert "content-encoding" in names(request_head(request, connection))


def test_brought_credentials_are_sent() -> None:
    request = httpx2.Request("POST", "https://api.example/v1/x?key=k", json={}, headers=SDK_HEADERS)
    head = request_head(request, BROUGHT)
    assert {"authorization", "x-api-key", "x-goog-api-key", "openai-organization"} <= set(names(head))
    assert head.url == "https://api.example/v1/x?key=k"


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
    with pytest.raises(
        RequestError, match=rf"{name.lower()} .* headers={name.lower()} .*credentials=brought"
    ):
        request_head(request, INJECTED)


def test_signed_headers_pass_only_with_a_brought_credential() -> None:
    headers = {"amz-sdk-invocation-id": "i", "amz-sdk-request": "attempt=1", "x-amz-user-agent": "aws-sdk-js"}
    request = httpx2.Request("POST", "https://bedrock-runtime.eu-west-1.amazonaws.com/x", headers=headers)
    assert not request_head(request, INJECTED).headers
    assert [header.name.decode() for header in request_head(request, BROUGHT).headers] == sorted(headers)


def test_unknown_header_passes_with_a_brought_credential() -> None:
    request = httpx2.Request("GET", "https://api.example/v1/x", headers=NEEDED | SDK_HEADERS)
    passed = {
        header.name.decode(): header.value.decode() for header in request_head(request, BROUGHT).headers
    }
    assert passed.items() >= {name.lower(): value for name, value in NEEDED.items()}.items()
    assert set(passed) - {name.lower() for name in NEEDED} == {
        *("accept", "anthropic-beta", "anthropic-version", "authorization", "openai-organization"),
        *("x-api-key", "x-goog-api-key"),
    }


@pytest.mark.parametrize("connection", [INJECTED, BROUGHT])
def test_configured_header_is_sent(connection: ConnectionConfig) -> None:
    named = replace(connection, headers=frozenset({"x-title", "x-custom"}))
    request = httpx2.Request("GET", "https://api.example/v1/x", headers={"X-Title": "a", "X-Custom": "b"})
    assert names(request_head(request, named))[-2:] == ["x-custom", "x-title"]


def test_refused_header_is_a_response_with_advice() -> None:
    with SealedTransport(replace(INJECTED, history=False)) as transport, transport.httpx2_client() as client:
        answer = client.get("https://api.openai.com/v1/models", headers={"Range": "bytes=0-1"})
    assert (answer.status_code, answer.headers["x-blindrelay-error"]) == (400, "client/request")
    assert "the bridge does not pass on the header range" in answer.json()["error"]["message"]


@pytest.mark.parametrize("connection", [INJECTED, BROUGHT])
def test_program_version_in_the_url_is_dropped(connection: ConnectionConfig) -> None:
    request = httpx2.Request("GET", "https://api.example/v1/models?client_version=0.121.0&limit=1")
    assert request_head(request, connection).url == "https://api.example/v1/models?limit=1"


@pytest.mark.parametrize("library", [httpx, httpx2])
@pytest.mark.parametrize(
    "path", ["/v1/models/llama3:8b", "/v1/models/org%2Fname", "/model/arn%3Aaws%3Ab/converse"]
)
def test_model_name_in_the_path_is_unchanged(library: Any, path: str) -> None:
    request = library.Request("GET", f"https://api.example{path}")
    assert request_head(request, INJECTED).url == f"https://api.example{path}"


@pytest.mark.parametrize("library", [httpx, httpx2])
@pytest.mark.parametrize("connection", [INJECTED, BROUGHT])
def test_fragment_is_dropped(library: Any, connection: ConnectionConfig) -> None:
    """Some SDKs put the name of a function there, and a bridge refuses it."""
    request = library.Request("POST", "https://api.example/v1/x?alt=sse#stream", json={})
    assert request_head(request, connection).url == "https://api.example/v1/x?alt=sse"
    request = library.Request("POST", "https://api.example/v1/a%23b/c%3Fd?x=%23#", json={})
    assert request_head(request, connection).url == "https://api.example/v1/a%23b/c%3Fd?x=%23"


def test_key_in_the_url_is_dropped() -> None:
    request = httpx2.Request("GET", "https://api.example/v1/x?alt=sse&Key=secret&access_token=secret")
    assert request_head(request, INJECTED).url == "https://api.example/v1/x?alt=sse"


def test_idempotency_key_does_not_name_the_sdk() -> None:
    def key_of(value: str) -> bytes:
        request = httpx2.Request("POST", "https://api.example/v1/x", headers={"Idempotency-Key": value})
        (header,) = (h for h in request_head(request, BROUGHT).headers if h.name == b"idempotency-key")
        return header.value

    assert b"stainless" not in key_of("stainless-python-retry-1")
    assert key_of("stainless-python-retry-1") == key_of("stainless-python-retry-1")
    assert key_of("stainless-python-retry-1") != key_of("stainless-python-retry-2")
    request = httpx2.Request("POST", "https://api.example/v1/x", headers={"Idempotency-Key": "order-1"})
    assert names(request_head(request, INJECTED)) == []


@pytest.mark.parametrize(
    ("path", "body", "sealed"),
    [
        ("/v1/responses", {"input": "é"}, {"input": "é", "store": False}),
        ("/v1/responses", {"store": None, "input": "é"}, {"store": False, "input": "é"}),
        ("/v1/responses", {"store": True}, {"store": True}),
        ("/v1/chat/completions", {"messages": []}, {"messages": []}),
    ],
)
def test_store_is_set_to_false_where_the_api_would_store(
    path: str, body: dict[str, Any], sealed: dict[str, Any]
) -> None:
    request = httpx2.Request("POST", "https://api.openai.com" + path, json=body)
    assert json.loads(stateless_body(request, INJECTED) or b"") == sealed
    assert json.loads(stateless_body(request, BROUGHT) or b"") == body


DEEP = b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    "body",
    [b"\xff not json", b'\xef\xbb\xbf{"a":1}', '{"a":1}'.encode("utf-16"), b"[1]", DEEP],
    ids=["bytes", "byte order mark", "UTF-16", "list", "deep"],
)
def test_body_that_is_not_a_json_object_is_unchanged(body: bytes) -> None:
    request = httpx2.Request("POST", "https://api.openai.com/v1/responses", content=body)
    assert stateless_body(request, INJECTED) == body


def test_streamed_body_is_not_collected() -> None:
    request = httpx2.Request("POST", "https://api.openai.com/v1/x", content=iter([b"piece"]))
    assert stateless_body(request, INJECTED) is None


def test_added_fields_leave_other_bytes_unchanged() -> None:
    def sealed(body: bytes) -> bytes | None:
        request = httpx2.Request("POST", "https://api.openai.com/v1/responses", content=body)
        return stateless_body(request, INJECTED)

    assert sealed(b' {"a":1e400, "a":2}') == b'{"store":false,"a":1e400, "a":2}'
    assert sealed(b'{"input": "\\ud83d"}') == b'{"store":false,"input": "\\ud83d"}'
    assert sealed(b"{ }") == b'{"store":false }'
