"""Requests and responses pass unchanged, except for headers; errors have the shape of their API."""

from __future__ import annotations

import gzip

import httpx
import pytest

from blindrelay.v1.inner_pb2 import ErrorCode
from blindrelay.v1.outer_status import OuterStatus

from ..conftest import ScriptedBridge, failing, responding
from .conftest import Endpoint


@pytest.mark.parametrize(
    ("method", "status"),
    [("GET", 201), ("HEAD", 200), ("PUT", 204), ("DELETE", 304), ("OPTIONS", 418), ("QUERY", 599)],
)
def test_every_method_and_status_passes(
    bridged: Endpoint, bridge: ScriptedBridge, method: str, status: int
) -> None:
    path = "file-1?limit=2&after=a%2Fb"
    length = {"content_length": "12345"} if method == "HEAD" else {}
    bridge.answer = responding(status, **length)
    body = b"\x00\xff" * 300_000 if method == "PUT" else b""
    asks_for_http_2 = {"connection": "upgrade", "upgrade": "h2c"} if method == "GET" else {}
    with bridged.client() as client:
        for _ in range(2):  # on one connection: a wrong body would be read as the second response
            answer = client.request(
                method, "/v1/files/file-1?limit=2&after=a%2Fb", content=body, headers=asks_for_http_2
            )
            assert (answer.status_code, answer.content) == (status, b"")
            assert method != "HEAD" or answer.headers["content-length"] == "12345"
    for received in bridge.received:
        assert received.head.method == method
        assert received.head.url == f"https://api.openai.com/v1/files/{path}"
        assert received.body == body


def test_encoded_body_is_not_decoded(bridged: Endpoint, bridge: ScriptedBridge) -> None:
    coded = gzip.compress(b"hello")
    bridge.answer = responding(200, coded, content_encoding="gzip", content_length=str(len(coded)))
    with bridged.client() as client, client.stream("GET", "/v1/models") as answer:
        assert b"".join(answer.iter_raw()) == coded
        assert answer.headers["content-encoding"] == "gzip"


def test_the_providers_headers_pass_but_for_those_of_a_hop_or_an_origin(
    bridged: Endpoint, bridge: ScriptedBridge
) -> None:
    passed = {"retry-after": "7", "x-ratelimit-remaining": "3", "x-request-id": "r", "date": "today"}
    dropped = {
        "connection": "x-hop",
        "x-hop": "1",
        "keep-alive": "timeout=1",
        "set-cookie": "a=b",
        "alt-svc": "h3",
        "access-control-allow-origin": "*",
        "cross-origin-resource-policy": "cross-origin",
        "service-worker-allowed": "/",
        "clear-site-data": "*",
        "refresh": "0; url=/",
        "x-blindrelay-error": "relay/overloaded",
        "content-security-policy": "script-src *",
        "x-content-type-options": "sniff",
    }
    bridge.answer = responding(
        429, b"<script>steal()</script>", content_type="text/html", **passed, **dropped
    )
    with bridged.client() as client:
        answer = client.get("/v1/models")
    assert passed.items() <= dict(answer.headers).items()
    # A page of a provider cannot act as one of the endpoint's own.
    sandboxed = {
        "content-security-policy": "sandbox",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
    }
    assert {name: answer.headers.get_list(name) for name in sandboxed} == {
        name: [value] for name, value in sandboxed.items()
    }
    assert not (dropped.keys() - sandboxed.keys()) & answer.headers.keys()


@pytest.mark.parametrize(
    ("location", "local"),
    [
        ("https://api.openai.com/v1/files/1?a=b", "/openai/v1/files/1?a=b"),
        ("https://generativelanguage.googleapis.com/upload/v1beta/files", "/gemini/upload/v1beta/files"),
        ("/v1/other", "/anthropic/v1/other"),
        ("https://evil.example/v1/files", None),
        ("//evil.example/v1/files", None),
        ("https://api.openai.com@evil.example/", None),
        ("http://api.openai.com/v1/files", None),
        ("http://[", None),
    ],
)
def test_redirect_leads_to_the_endpoint_or_nowhere(
    bridged: Endpoint, bridge: ScriptedBridge, location: str, local: str | None
) -> None:
    """It keeps a token that is in the path."""
    bridge.answer = responding(307, location=location)
    with bridged.client() as client:
        for token in ("", f"/{bridged.token}"):
            answer = client.get(f"{token}/v1/messages")
            assert answer.status_code == 307
            assert answer.headers.get("location") == (local and bridged.url + token + local)


OPENAI = {"error": {"type", "code", "param", "message", "origin"}}
ANTHROPIC = {"type": None, "error": {"type", "message", "origin"}}
GEMINI = {"error": {"code", "status", "message", "origin"}}
MISTRAL = dict.fromkeys(("object", "type", "code", "param", "message", "origin"))
COHERE = dict.fromkeys(("code", "message", "origin"))


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/chat/completions", OPENAI),
        ("/openai/v1/threads/t/messages", OPENAI),
        ("/v1/threads/t/messages", OPENAI),
        ("/openai/v1/models/ft:gpt:org", OPENAI),
        ("/v1/messages", ANTHROPIC),
        ("/anthropic/v1/models", ANTHROPIC),
        ("/anthropic/v1/chat/completions", OPENAI),
        ("/v1beta/models/m:generateContent", GEMINI),
        ("/gemini/v1/models", GEMINI),
        ("/v1beta/openai/chat/completions", OPENAI),
        ("/mistral/v1/chat/completions", MISTRAL),
        ("/cohere/v2/chat", COHERE),
        ("/cohere/compatibility/v1/chat/completions", OPENAI),
    ],
)
def test_an_error_has_the_shape_of_its_api(
    bridged: Endpoint, bridge: ScriptedBridge, path: str, shape: dict[str, object]
) -> None:
    """Both an error of the relay, and one of the endpoint about a missing token."""
    bridge.refuse = OuterStatus.OVERLOADED
    with bridged.client() as client:
        answer = client.post(path, json={})
    assert answer.status_code == 429
    assert shape_of(answer.json()) == shape
    assert "blindrelay_overloaded" in answer.text.lower()
    refused = httpx.post(bridged.url + path, trust_env=False)
    assert (refused.status_code, shape_of(refused.json())) == (401, shape)
    assert "blindrelay_local_token" in refused.text.lower()


def shape_of(body: dict[str, object]) -> dict[str, object]:
    return {name: set(value) if isinstance(value, dict) else None for name, value in body.items()}


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [
        (OuterStatus.INTERNAL, 502, "relay/internal"),
        (OuterStatus.BRIDGE_UNAVAILABLE, 502, "relay/bridge_unavailable"),
        (OuterStatus.DEADLINE, 504, "relay/deadline"),
        (OuterStatus.OVERLOADED, 429, "relay/overloaded"),
        (OuterStatus.REFUSED, 403, "relay/refused"),
        (None, 413, "bridge/too_large"),
    ],
)
def test_errors_become_responses(
    bridged: Endpoint, bridge: ScriptedBridge, status: OuterStatus | None, code: int, cause: str
) -> None:
    bridge.refuse, bridge.answer = status, failing(ErrorCode.ERROR_CODE_TOO_LARGE, "too large")
    with bridged.client() as client:
        answer = client.post("/v1/messages", json={})
    assert (answer.status_code, answer.headers["x-blindrelay-error"]) == (code, cause)
    assert ("x-should-retry" in answer.headers) == (code in (403, 413))
