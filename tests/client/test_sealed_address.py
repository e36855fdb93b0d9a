"""Base URLs under .invalid: requests through the transport arrive, others fail."""

from __future__ import annotations

import json
from typing import Any

import httpx
import httpx2
import pytest

from blindrelay.client import ConfigurationError, SealedTransport
from blindrelay.client.sealed_address import with_real_address
from blindrelay.sealing import TUNNEL_STATUS
from blindrelay.v1.inner_pb2 import ExchangeKind, Header, ResponseHead

from .conftest import TAIL, Received, Responder, ScriptedBridge, async_client_of, client_of

LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


@pytest.mark.parametrize(
    ("provider", "url"),
    [
        ("openai", "https://api.openai.com.blindrelay.invalid/v1"),
        ("anthropic", "https://api.anthropic.com.blindrelay.invalid"),
        ("gemini", "https://generativelanguage.googleapis.com.blindrelay.invalid"),
        ("mistral", "https://api.mistral.ai.blindrelay.invalid"),
        ("cohere", "https://api.cohere.com.blindrelay.invalid"),
        ("groq", "https://api.groq.com.blindrelay.invalid/openai/v1"),
        ("deepseek", "https://api.deepseek.com.blindrelay.invalid"),
        ("https://Models.example:8443/v1/", "https://models.example.blindrelay.invalid:8443/v1/"),
        ("http://127.0.0.1:8080", "http://127.0.0.1.blindrelay.invalid:8080"),
        ("wss://api.openai.com/v1", "wss://api.openai.com.blindrelay.invalid/v1"),
        ("https://api.openai.com.blindrelay.invalid/v1", "https://api.openai.com.blindrelay.invalid/v1"),
    ],
)
def test_base_url_of_a_provider(sealed: SealedTransport, provider: str, url: str) -> None:
    assert sealed.base_url(provider) == url


@pytest.mark.parametrize(
    "provider",
    ["", "grok", "OpenAI", "api.openai.com", "https://", "https://[::1]/v1", "https://a:x/", "https://u@a/"],
)
def test_unknown_provider_is_a_clear_error(sealed: SealedTransport, provider: str) -> None:
    with pytest.raises(ConfigurationError, match="neither one of openai, anthropic"):
        sealed.base_url(provider)


@LIBRARIES
async def test_provider_gets_its_own_address(
    library: Any, sealed: SealedTransport, bridge: ScriptedBridge
) -> None:
    with client_of(library, sealed, base_url=sealed.base_url("openai")) as client:
        answer = client.post("/responses?a=b", json={"n": 1})
        assert answer.json() == {}
        assert answer.request.url.host == "api.openai.com.blindrelay.invalid"
    async with async_client_of(library, sealed) as client:
        await client.get(f"{sealed.base_url('http://Models.example:8080')}/v1/models")
    assert [each.head.url for each in bridge.received] == [
        "https://api.openai.com/v1/responses?a=b",
        "http://models.example:8080/v1/models",
    ]
    assert json.loads(bridge.received[0].body) == {"store": False, "n": 1}
    for each in bridge.received:
        assert b"invalid" not in each.head.SerializeToString()


@LIBRARIES
def test_request_keeps_its_timeouts(library: Any) -> None:
    request = library.Request("GET", "https://a.blindrelay.invalid/", extensions={"timeout": {"read": 7}})
    assert with_real_address(request).extensions == {"timeout": {"read": 7}}


@LIBRARIES
def test_requests_past_the_transport_fail(library: Any, sealed: SealedTransport) -> None:
    """For example, in a framework that takes a transport and does not use it."""
    with library.Client(trust_env=False) as client, pytest.raises(library.ConnectError):
        client.get(f"{sealed.base_url('openai')}/models")


@LIBRARIES
def test_urls_in_a_response_stay_under_invalid(
    library: Any, sealed: SealedTransport, bridge: ScriptedBridge
) -> None:
    async def redirecting(received: Received, respond: Responder) -> None:
        if received.head.url.endswith("/next"):
            await respond.whole(b'"here"')
            return
        fields = {
            b"location": b"https://api.openai.com:8443/next",
            b"x-goog-upload-url": b"https://upload.example/x?y",
            b"content-location": b"/relative",
            b"x-text": b"see https://api.openai.com",
        }
        headers = [Header(name=name, value=value) for name, value in fields.items()]
        await respond.send(head=ResponseHead(status=307, headers=headers), tail=TAIL)

    bridge.answer = redirecting
    for base, suffix in [
        (sealed.base_url("openai"), ".blindrelay.invalid"),
        ("https://api.openai.com/v1", ""),
    ]:
        with client_of(library, sealed) as client:
            first = client.get(f"{base}/first", follow_redirects=False)
            assert first.headers["location"] == f"https://api.openai.com{suffix}:8443/next"
            assert first.headers["x-goog-upload-url"] == f"https://upload.example{suffix}/x?y"
            assert first.headers["content-location"] == "/relative"
            assert first.headers["x-text"] == "see https://api.openai.com"
            assert client.get(f"{base}/first").json() == "here"
    assert {each.head.url for each in bridge.received} == {
        "https://api.openai.com/v1/first",
        "https://api.openai.com:8443/next",
    }


async def test_websocket_goes_to_the_providers_own_address(
    sealed: SealedTransport, bridge: ScriptedBridge
) -> None:
    async def open_it(_: Received, respond: Responder) -> None:
        await respond.send(head=ResponseHead(status=TUNNEL_STATUS))

    bridge.answer = open_it
    address = sealed.base_url("wss://api.openai.com/v1")
    tunnel = await sealed.open_tunnel(httpx.Request("GET", f"{address}/realtime?model=m"))
    await tunnel.aclose()
    await sealed.aclose()
    (received,) = bridge.received
    assert received.head.kind == ExchangeKind.EXCHANGE_KIND_TUNNEL
    assert received.head.url == "https://api.openai.com/v1/realtime?model=m"
