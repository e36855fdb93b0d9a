"""What passes unchanged, and at once; the shape of errors; and that the end of a side ends the other."""

from __future__ import annotations

import gzip
import select
import socket
import threading

import httpx
import pytest

from blindrelay.testbed import Testbed
from blindrelay.v1.inner_pb2 import ErrorCode
from blindrelay.v1.outer_status import OuterStatus
from tests.patience import PATIENCE, wait_for

from ..scripted_bridge import TAIL, ScriptedBridge, answering, failing, head, never, responding
from .conftest import Endpoint


@pytest.mark.parametrize(
    ("method", "status"),
    [("GET", 201), ("HEAD", 200), ("PUT", 204), ("DELETE", 304), ("OPTIONS", 418), ("QUERY", 599)],
)
def test_every_method_and_status_passes(
    client: httpx.Client, bridge: ScriptedBridge, method: str, status: int
) -> None:
    path = "/v1/files/file-1?limit=2&after=a%2Fb"
    length = {"content_length": "12345"} if method == "HEAD" else {}
    bridge.answer = responding(status, **length)
    body = b"\x00\xff" * 300_000 if method == "PUT" else b""
    asks_for_http_2 = {"connection": "upgrade", "upgrade": "h2c"} if method == "GET" else {}
    for _ in range(2):  # on one connection: a wrong body would be read as the second response
        answer = client.request(method, path, content=body, headers=asks_for_http_2)
        assert (answer.status_code, answer.content) == (status, b"")
        assert method != "HEAD" or answer.headers["content-length"] == "12345"
    assert len(bridge.received) == 2
    for received in bridge.received:
        assert (received.head.method, received.body) == (method, body)
        assert received.head.url == f"https://api.openai.com{path}"


def test_encoded_body_is_not_decoded(client: httpx.Client, bridge: ScriptedBridge) -> None:
    coded = gzip.compress(b"hello")
    bridge.answer = responding(200, coded, content_encoding="gzip", content_length=str(len(coded)))
    with client.stream("GET", "/v1/models") as answer:
        assert b"".join(answer.iter_raw()) == coded
        assert answer.headers["content-encoding"] == "gzip"


def test_the_providers_headers_pass_but_for_those_of_a_hop_or_an_origin(
    client: httpx.Client, bridge: ScriptedBridge
) -> None:
    passed = {"retry-after": "7", "x-ratelimit-remaining": "3", "x-request-id": "r", "date": "today"}
    dropped = {
        "connection": "x-hop",
        "x-hop": "1",
        "keep-alive": "timeout=1",
        "set-cookie": "a=b",
        "alt-svc": "h3",
        "access-control-allow-origin": "*",
        "service-worker-allowed": "/",
        "clear-site-data": "*",
        "refresh": "0; url=/",
        "x-blindrelay-error": "relay/overloaded",
    }
    replaced = {  # so that a provider's page cannot act as one of the endpoint's own
        "cross-origin-resource-policy": ("cross-origin", "same-origin"),
        "content-security-policy": ("script-src *", "sandbox"),
        "x-content-type-options": ("sniff", "nosniff"),
    }
    fields = passed | dropped | {name: sent for name, (sent, _) in replaced.items()}
    bridge.answer = responding(429, b"<script>", content_type="text/html", **fields)
    headers = client.get("/v1/models").headers
    assert passed.items() <= dict(headers).items()
    assert not dropped.keys() & headers.keys()
    for name, (_, own) in replaced.items():
        assert headers.get_list(name) == [own]


REDIRECTS = {
    "https://api.openai.com/v1/files/1?a=b": "/openai/v1/files/1?a=b",
    "https://generativelanguage.googleapis.com/upload/v1beta/files": "/gemini/upload/v1beta/files",
    "/v1/other": "/anthropic/v1/other",
    "https://evil.example/v1/files": None,
    "//evil.example/v1/files": None,
    "https://api.openai.com@evil.example/": None,
    "http://api.openai.com/v1/files": None,
    "http://[": None,
}


def test_redirect_stays_at_the_endpoint(
    bridged: Endpoint, client: httpx.Client, bridge: ScriptedBridge
) -> None:
    """It keeps a token that is in the path."""
    for location, local in REDIRECTS.items():
        bridge.answer = responding(307, location=location)
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
    client: httpx.Client, bridge: ScriptedBridge, path: str, shape: dict[str, object]
) -> None:
    """Both an error of the relay, and one of the endpoint about a missing token."""
    bridge.refuse = OuterStatus.OVERLOADED
    answers = [
        client.post(path, json={}),
        httpx.post(client.base_url.join(path), trust_env=False, timeout=PATIENCE),
    ]
    assert [answer.status_code for answer in answers] == [429, 401]
    for answer, code in zip(answers, ("blindrelay_overloaded", "blindrelay_local_token"), strict=True):
        parts = {name: set(part) if isinstance(part, dict) else None for name, part in answer.json().items()}
        assert parts == shape
        assert code in answer.text.lower()


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [
        (OuterStatus.INTERNAL, 502, "relay/internal"),
        (OuterStatus.BRIDGE_UNAVAILABLE, 502, "relay/bridge_unavailable"),
        (OuterStatus.DEADLINE, 504, "relay/deadline"),
        (OuterStatus.REFUSED, 403, "relay/refused"),
        (None, 413, "bridge/too_large"),
    ],
)
def test_errors_become_responses(
    client: httpx.Client, bridge: ScriptedBridge, status: OuterStatus | None, code: int, cause: str
) -> None:
    bridge.refuse, bridge.answer = status, failing(ErrorCode.ERROR_CODE_TOO_LARGE, "too large")
    answer = client.post("/v1/messages", json={})
    assert (answer.status_code, answer.headers["x-blindrelay-error"]) == (code, cause)
    assert ("x-should-retry" in answer.headers) == (code in (403, 413))


CHAT = "/v1/chat/completions"
EVENTS = head(content_type=b"text/event-stream")


def test_each_event_arrives_before_the_next_is_sent(client: httpx.Client, bridge: ScriptedBridge) -> None:
    arrived = [threading.Event() for _ in range(3)]
    events = [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n"]
    steps = [step for event, there in zip(events, arrived, strict=True) for step in ({"body": event}, there)]
    bridge.answer = answering({"head": EVENTS}, *steps, tail=TAIL)
    with client.stream("POST", CHAT, json={"stream": True}) as answer:
        assert answer.headers["x-accel-buffering"] == "no"
        assert answer.headers["cache-control"] == "no-cache"
        pieces = answer.iter_raw()
        for event, there in zip(events, arrived, strict=True):
            assert next(pieces) == event
            there.set()
        assert list(pieces) == []


def test_body_is_not_buffered(bridged: Endpoint, bridge: ScriptedBridge) -> None:
    """A response comes to a request that has no end."""
    bridge.stop_reading_after = 2
    with bridged.connect() as program:
        program.sendall(bridged.request(f"POST {CHAT}", "transfer-encoding: chunked\r\n"))
        for _ in range(1_000):
            program.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            if select.select([program], [], [], 0)[0]:
                break
        assert program.recv(65_536).startswith(b"HTTP/1.1 200 ")
    assert bridge.received[0].body.strip(b"x") == b""


def test_a_program_that_leaves_ends_the_providers_work(bed: Testbed, endpoint: Endpoint) -> None:
    def outcome() -> str:
        asked = httpx.get(f"{bed.provider}/scripted/requests", trust_env=False, timeout=PATIENCE)
        return str(asked.json()[-1]["outcome"])

    body = {"model": "m", "messages": [], "stream": True, "scripted": {"hold": "never-released"}}
    with endpoint.client() as client, client.stream("POST", CHAT, json=body) as answer:
        pieces = answer.iter_raw()
        assert next(pieces)
        assert outcome() == "open"
    wait_for(lambda: outcome() == "abandoned")


@pytest.mark.parametrize("ends_its_side", [False, True])
def test_program_that_leaves_before_the_response_ends_the_exchange(
    bridged: Endpoint, bridge: ScriptedBridge, ends_its_side: bool
) -> None:
    bridge.answer = never
    with bridged.connect() as program:
        program.sendall(bridged.request("GET /v1/models"))
        if ends_its_side:
            program.shutdown(socket.SHUT_WR)
        wait_for(lambda: len(bridge.received) == 1)
        assert not ends_its_side or program.recv(100).startswith(b"HTTP/1.1 100 ")
        assert not bridge.cancelled
    wait_for(lambda: bridge.cancelled == [True])


def test_cut_response_has_no_end(client: httpx.Client, bridge: ScriptedBridge) -> None:
    first = {"head": EVENTS, "body": b"data: 1\n\n"}
    bridge.answer = failing(ErrorCode.ERROR_CODE_PROVIDER_FAILED, "it broke", first)
    with client.stream("POST", CHAT, json={}) as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"data: 1\n\n"
        with pytest.raises(httpx.RemoteProtocolError):
            next(pieces)
    assert "bridge/provider_failed" in client.get("/").text
