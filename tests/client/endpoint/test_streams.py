"""Streams: events and bodies pass at once, and the end of either side ends the other."""

from __future__ import annotations

import select
import socket
import threading

import httpx
import pytest

from blindrelay.testbed import Testbed
from blindrelay.v1.inner_pb2 import ErrorCode

from ..conftest import TAIL, ScriptedBridge, answering, failing, head, never, wait_for
from .conftest import Endpoint

CHAT = "/v1/chat/completions"
EVENTS = head(content_type=b"text/event-stream")


def test_each_event_arrives_before_the_next_is_sent(bridged: Endpoint, bridge: ScriptedBridge) -> None:
    arrived = [threading.Event() for _ in range(3)]
    pieces = [{"body": b"data: 0\n\n"}, {"body": b"data: 1\n\n"}, {"body": b"data: 2\n\n"}]
    steps = [step for pair in zip(pieces, arrived, strict=True) for step in pair]
    bridge.answer = answering({"head": EVENTS}, *steps, tail=TAIL)
    with bridged.client() as client, client.stream("POST", CHAT, json={"stream": True}) as answer:
        assert answer.headers["x-accel-buffering"] == "no"
        assert answer.headers["cache-control"] == "no-cache"
        came = answer.iter_raw()
        for piece, event in zip(pieces, arrived, strict=True):
            assert next(came) == piece["body"]
            event.set()
        assert list(came) == []


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
        return str(httpx.get(f"{bed.provider}/scripted/requests", trust_env=False).json()[-1]["outcome"])

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


def test_cut_response_has_no_end(bridged: Endpoint, bridge: ScriptedBridge) -> None:
    first = {"head": EVENTS, "body": b"data: 1\n\n"}
    bridge.answer = failing(ErrorCode.ERROR_CODE_PROVIDER_FAILED, "it broke", first)
    with bridged.client() as client, client.stream("POST", CHAT, json={}) as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"data: 1\n\n"
        with pytest.raises(httpx.RemoteProtocolError):
            next(pieces)
    assert "bridge/provider_failed" in httpx.get(bridged.url, trust_env=False).text
