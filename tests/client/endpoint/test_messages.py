"""Requests and responses pass unchanged, except for headers."""

from __future__ import annotations

import gzip

import httpx
import pytest

from blindrelay.v1.inner_pb2 import ErrorCode, ExchangeError, Header, ResponseHead
from blindrelay.v1.outer_status import OuterStatus

from ..conftest import TAIL, Received, Responder, ScriptedBridge
from .conftest import Endpoint


def answer_with(bridge: ScriptedBridge, status: int, body: bytes = b"", **headers: str) -> None:
    fields = [
        Header(name=name.replace("_", "-").encode(), value=value.encode()) for name, value in headers.items()
    ]

    async def answer(_: Received, respond: Responder) -> None:
        await respond.send(head=ResponseHead(status=status, headers=fields), body=body, tail=TAIL)

    bridge.answer = answer


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "QUERY"])
def test_every_method_passes(bridged: Endpoint, bridge: ScriptedBridge, method: str) -> None:
    with bridged.client() as client:
        assert client.request(method, "/v1/files/file-1?limit=2&after=a%2Fb").json() == {}
    head = bridge.received[0].head
    assert (head.method, head.url) == (method, "https://api.openai.com/v1/files/file-1?limit=2&after=a%2Fb")
    assert bridge.received[0].body == b""


def test_head_response_has_no_body(bridged: Endpoint, bridge: ScriptedBridge) -> None:
    answer_with(bridge, 200, content_type="application/json", content_length="12345")
    with bridged.client() as client:
        for _ in range(2):  # on one connection: a body would be read as the second response
            answer = client.head("/v1/models")
            assert answer.headers["content-length"] == "12345"
            assert answer.content == b""


@pytest.mark.parametrize("status", [201, 204, 304, 418, 599])
def test_every_status_passes(bridged: Endpoint, bridge: ScriptedBridge, status: int) -> None:
    answer_with(bridge, status)
    with bridged.client() as client:
        assert client.delete("/v1/files/file-1").status_code == status
        assert client.delete("/v1/files/file-1").content == b""


def test_form_arrives_byte_for_byte(bridged: Endpoint, bridge: ScriptedBridge) -> None:
    with bridged.client() as client:
        request = client.build_request("POST", "/v1/files", files={"file": ("name", b"\x00\xff" * 300_000)})
        body = request.read()
        client.send(request)
    assert bridge.received[0].body == body
    assert bridge.received[0].headers[b"content-type"] == request.headers["content-type"].encode()


def test_only_headers_for_the_provider_are_sealed(bridged: Endpoint, bridge: ScriptedBridge) -> None:
    sent = {"x-stainless-os": "Linux", "user-agent": "secret/1", "cookie": "a=b", "anthropic-beta": "tools"}
    with bridged.client() as client:
        client.post("/v1/messages", json={}, headers=sent)
    assert set(bridge.received[0].headers) == {b"accept", b"anthropic-beta", b"content-type"}


def test_encoded_body_is_not_decoded(bridged: Endpoint, bridge: ScriptedBridge) -> None:
    coded = gzip.compress(b"hello")
    answer_with(bridge, 200, coded, content_encoding="gzip", content_length=str(len(coded)))
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
    }
    answer_with(bridge, 429, b"{}", **passed, **dropped)
    with bridged.client() as client:
        answer = client.get("/v1/models")
    assert passed.items() <= dict(answer.headers).items()
    assert not (dropped.keys() - {"cross-origin-resource-policy"}) & answer.headers.keys()


@pytest.mark.parametrize("content_type", ["text/html", "application/pdf"])
def test_pages_of_a_provider_are_sandboxed(
    bridged: Endpoint, bridge: ScriptedBridge, content_type: str
) -> None:
    own = {"content_security_policy": "script-src *", "x_content_type_options": "sniff"}
    answer_with(bridge, 200, b"<script>steal()</script>", content_type=content_type, **own)
    with bridged.client() as client:
        answer = client.get("/v1/files/file-1/content")
    assert answer.content == b"<script>steal()</script>"
    assert answer.headers.get_list("content-security-policy") == ["sandbox"]
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert answer.headers.get_list("cross-origin-resource-policy") == ["same-origin"]


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
    answer_with(bridge, 307, location=location)
    with bridged.client() as client:
        answer = client.get("/v1/messages")
    assert answer.status_code == 307
    assert answer.headers.get("location") == (None if local is None else bridged.url + local)


def test_redirect_keeps_the_token_in_the_path(bridged: Endpoint, bridge: ScriptedBridge) -> None:
    answer_with(bridge, 307, location="/v1/next")
    answer = httpx.get(f"{bridged.url}/{bridged.token}/v1/models", trust_env=False)
    assert answer.headers["location"] == f"{bridged.url}/{bridged.token}/openai/v1/next"


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
    assert answer.headers["x-blindrelay-error"] == "relay/overloaded"
    assert "x-should-retry" not in answer.headers
    assert shape_of(answer.json()) == shape
    assert "blindrelay_overloaded" in answer.text.lower()
    refused = httpx.post(bridged.url + path, trust_env=False)
    assert (refused.status_code, shape_of(refused.json())) == (401, shape)


def shape_of(body: dict[str, object]) -> dict[str, object]:
    return {name: set(value) if isinstance(value, dict) else None for name, value in body.items()}


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [
        (OuterStatus.INTERNAL, 502, "relay/internal"),
        (OuterStatus.BRIDGE_UNAVAILABLE, 502, "relay/bridge_unavailable"),
        (OuterStatus.DEADLINE, 504, "relay/deadline"),
        (OuterStatus.REFUSED, 403, "relay/refused"),
    ],
)
def test_transport_errors_become_responses(
    bridged: Endpoint, bridge: ScriptedBridge, status: OuterStatus, code: int, cause: str
) -> None:
    bridge.refuse = status
    with bridged.client() as client:
        answer = client.post("/v1/messages", json={})
    assert answer.status_code == code
    assert answer.headers["x-blindrelay-error"] == cause
    assert ("x-should-retry" in answer.headers) == (code == 403)


def test_error_of_the_bridge_becomes_a_response(bridged: Endpoint, bridge: ScriptedBridge) -> None:
    async def refuse(_: Received, respond: Responder) -> None:
        await respond.send(error=ExchangeError(code=ErrorCode.ERROR_CODE_TOO_LARGE, message="too large"))

    bridge.answer = refuse
    with bridged.client() as client:
        answer = client.post("/v1/chat/completions", json={})
    assert (answer.status_code, answer.headers["x-blindrelay-error"]) == (413, "bridge/too_large")


def test_upgrade_to_http_2_is_ignored(bridged: Endpoint) -> None:
    with bridged.client() as client:
        headers = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AA"}
        assert client.get("/v1/models", headers=headers).status_code == 200
