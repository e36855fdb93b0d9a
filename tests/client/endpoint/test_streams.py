"""Streams: events and bodies pass at once, and the end of either side ends the other."""

from __future__ import annotations

import json
import select
import threading

import httpx
import pytest

from blindrelay.testbed import Testbed
from blindrelay.v1.inner_pb2 import ErrorCode, ExchangeError

from ..conftest import TAIL, Received, Responder, ScriptedBridge, head
from .conftest import Endpoint, never_answering, wait_for

CHAT = "/v1/chat/completions"


def test_each_event_arrives_before_the_next_is_sent(bridged: Endpoint, bridge: ScriptedBridge) -> None:
    arrived = [threading.Event() for _ in range(5)]

    async def one_by_one(_: Received, respond: Responder) -> None:
        await respond.send(head=head(content_type=b"text/event-stream"))
        for number, event in enumerate(arrived):
            await respond.send(body=b"data: %d\n\n" % number)
            await bridge.stall(event)
        await respond.send(tail=TAIL)

    bridge.answer = one_by_one
    with bridged.client() as client, client.stream("POST", CHAT, json={"stream": True}) as answer:
        assert answer.headers["x-accel-buffering"] == "no"
        assert answer.headers["cache-control"] == "no-cache"
        pieces = answer.iter_raw()
        for number, event in enumerate(arrived):
            assert next(pieces) == b"data: %d\n\n" % number
            event.set()
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


def test_large_body_arrives_as_it_was_sent(endpoint: Endpoint) -> None:
    body = [
        b'{"model": "m", "messages": [], "scripted": {"echo": true}, "user": "',
        *[b"x" * 65_536] * 128,
        b'"}',
    ]
    with endpoint.client(timeout=60) as client:
        answer = client.post(CHAT, content=iter(body), headers={"content-type": "application/json"})
    echo = json.loads(answer.json()["choices"][0]["message"]["content"])
    assert echo["body_bytes"] == sum(map(len, body))


def test_a_program_that_leaves_ends_the_providers_work(bed: Testbed, endpoint: Endpoint) -> None:
    body = {"model": "m", "messages": [], "stream": True, "scripted": {"hold": "never-released"}}
    with endpoint.client() as client, client.stream("POST", CHAT, json=body) as answer:
        pieces = answer.iter_raw()
        assert next(pieces)
        assert outcome(bed) == "open"
    wait_for(lambda: outcome(bed) == "abandoned")


def test_program_that_leaves_before_the_response_ends_the_exchange(
    bridged: Endpoint, bridge: ScriptedBridge
) -> None:
    asked = never_answering(bridge)
    with bridged.connect() as program:
        program.sendall(bridged.request("GET /v1/models"))
        assert asked.wait(30)
        assert not bridge.cancelled
    wait_for(lambda: bridge.cancelled == [True])


def test_cut_response_has_no_end(bridged: Endpoint, bridge: ScriptedBridge) -> None:
    async def cut(_: Received, respond: Responder) -> None:
        await respond.send(head=head(content_type=b"text/event-stream"), body=b"data: 1\n\n")
        await respond.send(error=ExchangeError(code=ErrorCode.ERROR_CODE_PROVIDER_FAILED, message="it broke"))

    bridge.answer = cut
    with bridged.client() as client, client.stream("POST", CHAT, json={}) as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"data: 1\n\n"
        with pytest.raises(httpx.RemoteProtocolError):
            next(pieces)
    assert "bridge/provider_failed" in httpx.get(bridged.url, trust_env=False).text


def outcome(bed: Testbed) -> str:
    return str(httpx.get(f"{bed.provider}/scripted/requests", trust_env=False).json()[-1]["outcome"])
