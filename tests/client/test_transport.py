"""The transport under httpx and httpx2, synchronous and asynchronous, against a scripted bridge."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import httpx2
import pytest

from blindrelay.client import (
    BridgeError,
    CutAnswerError,
    RelayError,
    SealedTransport,
    UnreachableError,
)
from blindrelay.sealing import SealingKey
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.inner_pb2 import ErrorCode, ExchangeError, Execution
from blindrelay.v1.outer_status import OuterStatus

from .conftest import TAIL, Received, Responder, ScriptedBridge, head

URL = "https://api.openai.com/v1/chat/completions"
LIBRARIES = [httpx, httpx2]


def client_of(library: Any, sealed: SealedTransport, **options: Any) -> Any:
    return {httpx: sealed.httpx_client, httpx2: sealed.httpx2_client}[library](**options)


def async_client_of(library: Any, sealed: SealedTransport, **options: Any) -> Any:
    return {httpx: sealed.async_httpx_client, httpx2: sealed.async_httpx2_client}[library](**options)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_synchronous_exchange(library: Any, bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    with client_of(library, sealed) as client:
        response = client.post(URL, json={"a": 1})
    assert (response.status_code, response.json()) == (200, {})
    assert bridge.received[0].head.url == URL
    assert json.loads(bridge.received[0].body) == {"a": 1}


@pytest.mark.parametrize("library", LIBRARIES)
async def test_an_asynchronous_exchange(
    library: Any, bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    async with async_client_of(library, sealed) as client:
        response = await client.post(URL, json={"a": 1})
    assert response.json() == {}
    assert json.loads(bridge.received[0].body) == {"a": 1}


@pytest.mark.parametrize("library", LIBRARIES)
def test_pieces_arrive_while_the_bridge_still_holds_back_the_last(
    library: Any, bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    seen = threading.Event()

    async def hold_back(_: Received, respond: Responder) -> None:
        await respond.send(head=head(content_type=b"text/event-stream"))
        await respond.send(body=b"first")
        await asyncio.to_thread(seen.wait, 30)
        await respond.send(body=b"last", tail=TAIL)

    bridge.answer = hold_back
    with client_of(library, sealed) as client, client.stream("POST", URL, json={}) as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"first"
        seen.set()
        assert list(pieces) == [b"last"]


def test_a_large_body_arrives_whole_from_a_generator(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    def pieces() -> Iterator[bytes]:
        for number in range(40):
            yield bytes([number]) * 50_000

    with sealed.httpx2_client() as client:
        client.post(URL, content=pieces())
    assert bridge.received[0].body == b"".join(pieces())


async def test_an_asynchronous_generator_too(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a" * 100_000
        yield b"b"

    async with sealed.async_httpx2_client() as client:
        await client.post(URL, content=pieces())
    assert bridge.received[0].body == b"a" * 100_000 + b"b"


class BodyError(Exception):
    pass


def test_an_error_in_the_body_iterator_reaches_the_caller(
    bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"a" * 200_000
        raise BodyError

    with sealed.httpx2_client() as client, pytest.raises(BodyError):
        client.post(URL, content=pieces())
    assert bridge.received == []


async def test_an_error_in_an_asynchronous_body_iterator_too(
    bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a" * 200_000
        raise BodyError

    async with sealed.async_httpx2_client() as client:
        with pytest.raises(BodyError):
            await client.post(URL, content=pieces())
    assert bridge.received == []


def test_an_early_answer_to_a_large_upload_is_heard(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    async def refuse(_: Received, respond: Responder) -> None:
        await respond.send(error=ExchangeError(code=ErrorCode.ERROR_CODE_TOO_LARGE, message="too large"))

    bridge.answer, bridge.stop_reading_after = refuse, 2
    with sealed.httpx2_client() as client:
        response = client.post(URL, content=b"x" * 8_000_000)
    assert response.status_code == 413
    assert response.headers["x-blindrelay-error"] == "bridge/too_large"
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("cut", "message"),
    [(OuterStatus.BRIDGE_UNAVAILABLE, "could not reach the bridge"), (None, "ended the exchange")],
)
def test_a_cut_answer_is_never_a_short_one(
    library: Any, cut: OuterStatus | None, message: str, bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    async def cut_short(_: Received, respond: Responder) -> None:
        await respond.send(head=head(), body=b"some")
        if cut is not None:
            await respond.context.abort(*cut.value)

    bridge.answer = cut_short
    with client_of(library, sealed) as client, pytest.raises(CutAnswerError, match=message) as raised:
        client.get(URL)
    assert isinstance(raised.value, library.RemoteProtocolError)


async def test_a_cut_answer_in_the_asynchronous_world(
    bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    async def cut_short(_: Received, respond: Responder) -> None:
        await respond.send(head=head(), body=b"some")

    bridge.answer = cut_short
    async with sealed.async_httpx2_client() as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get(URL)


def test_a_status_after_the_end_changes_nothing(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    async def whole_then_abort(_: Received, respond: Responder) -> None:
        await respond.whole(b"whole")
        await respond.context.abort(*OuterStatus.INTERNAL.value)

    bridge.answer = whole_then_abort
    with sealed.httpx2_client() as client:
        assert client.get(URL).content == b"whole"


def flip(record: bytes) -> bytes:
    return record[:-1] + bytes([record[-1] ^ 1])


@pytest.mark.parametrize("altered", [flip, lambda record: record[:-1], lambda record: b"", lambda r: r * 2])
def test_an_altered_head_is_an_answer_that_must_not_be_retried(
    altered: Callable[[bytes], bytes], bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    async def alter(_: Received, respond: Responder) -> None:
        (record,) = respond.exchange.response.seal(head=head(), body=b"x", tail=TAIL)
        await respond.raw(altered(record))

    bridge.answer = alter
    with sealed.httpx2_client() as client:
        response = client.get(URL)
    assert response.headers["x-blindrelay-error"] == "relay/altered"
    assert response.headers["x-should-retry"] == "false"


def test_an_altered_piece_raises_after_the_valid_ones(
    bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    async def alter(_: Received, respond: Responder) -> None:
        await respond.send(head=head(), body=b"valid")
        (record,) = respond.exchange.response.seal(body=b"altered")
        await respond.raw(flip(record))

    bridge.answer = alter
    with sealed.httpx2_client() as client, client.stream("GET", URL) as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"valid"
        with pytest.raises(httpx2.RemoteProtocolError, match="did not open"):
            next(pieces)


def test_a_bridge_error_in_mid_answer_says_what_the_bridge_says(
    bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    async def fail(_: Received, respond: Responder) -> None:
        await respond.send(head=head(), body=b"some")
        await respond.send(
            error=ExchangeError(
                code=ErrorCode.ERROR_CODE_PROVIDER_FAILED,
                message="the provider broke off",
                execution=Execution.EXECUTION_STARTED,
            )
        )

    bridge.answer = fail
    with sealed.httpx2_client() as client, pytest.raises(BridgeError, match="broke off") as raised:
        client.get(URL)
    assert isinstance(raised.value, httpx2.RemoteProtocolError)
    assert not raised.value.not_started


@pytest.mark.parametrize(
    ("status", "seen"),
    [
        (OuterStatus.REFUSED, 403),
        (OuterStatus.MALFORMED, 502),
        (OuterStatus.IDENTITY_UNKNOWN, 403),
        (OuterStatus.OVERLOADED, 429),
        (OuterStatus.BRIDGE_UNAVAILABLE, httpx2.ConnectError),
        (OuterStatus.DRAINING, httpx2.ConnectError),
        (OuterStatus.DEADLINE, httpx2.ReadTimeout),
        (OuterStatus.INTERNAL, httpx2.ReadError),
    ],
)
def test_an_outer_status_is_raised_or_answered(
    status: OuterStatus, seen: Any, bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    bridge.refuse = status
    with sealed.httpx2_client() as client:
        if isinstance(seen, int):
            response = client.get(URL)
            assert response.status_code == seen
            assert response.headers["x-blindrelay-error"] == f"relay/{status.details}"
            assert ("x-should-retry" in response.headers) == (status is not OuterStatus.OVERLOADED)
        else:
            with pytest.raises(RelayError) as raised:
                client.get(URL)
            assert isinstance(raised.value, seen)
    assert bridge.calls == 1


def test_an_unknown_token(bridge: ScriptedBridge) -> None:
    sealed = SealedTransport(bridge.connection.replace("brt_test", "brt_wrong"))
    with sealed.httpx2_client() as client:
        response = client.get(URL)
    assert response.status_code == 401
    assert "does not know this access token" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("https://api.anthropic.com/v1/messages", lambda body: body["error"]["message"]),
        ("https://api.openai.com/v1/responses", lambda body: body["error"]["message"]),
        ("https://g.example/v1beta/models/m:generateContent", lambda body: body["error"]["message"]),
    ],
)
def test_error_bodies_have_the_shape_of_their_path(
    url: str, where: Callable[[Any], str], bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    bridge.refuse = OuterStatus.REFUSED
    with sealed.httpx2_client() as client:
        body = client.post(url, json={}).json()
    assert "BlindRelay" in where(body)
    assert ("type" in body) == ("anthropic" in url)


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_relay_is_a_connect_error(library: Any, bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    bridge.stop()
    with (
        client_of(library, sealed) as client,
        pytest.raises(UnreachableError, match="is it running") as raised,
    ):
        client.get(URL)
    assert isinstance(raised.value, library.ConnectError)


def test_a_relay_that_comes_back_is_found(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    with sealed.httpx2_client() as client:
        client.get(URL)
        bridge.stop()
        with pytest.raises(httpx2.ConnectError):
            client.get(URL)
        bridge.start()
        assert client.get(URL).status_code == 200


def test_the_read_timeout_is_an_idle_timer(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    async def slow_but_steady(_: Received, respond: Responder) -> None:
        await respond.send(head=head())
        for _piece in range(8):
            await asyncio.sleep(0.2)
            await respond.send(body=b"x")
        await respond.send(tail=TAIL)

    bridge.answer = slow_but_steady
    with sealed.httpx2_client(timeout=httpx2.Timeout(10, read=0.9)) as client:
        assert client.get(URL).content == b"x" * 8


async def test_nothing_for_too_long_is_a_read_timeout(
    bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    async def stall(_: Received, respond: Responder) -> None:
        await respond.send(head=head(), body=b"x")
        await asyncio.sleep(60)

    bridge.answer = stall
    async with sealed.async_httpx2_client(timeout=httpx2.Timeout(10, read=0.3)) as client:
        with pytest.raises(httpx2.ReadTimeout, match="nothing came back"):
            await client.get(URL)
    await eventually(lambda: bridge.cancelled == [True])


async def test_cancelling_ends_the_exchange_at_once(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def stall(_: Received, respond: Responder) -> None:
        await respond.send(head=head())
        loop.call_soon_threadsafe(started.set)
        await asyncio.sleep(60)

    bridge.answer = stall
    async with sealed.async_httpx2_client() as client:
        task = asyncio.create_task(client.get(URL))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await eventually(lambda: bridge.cancelled == [True])


def test_closing_a_stream_early_ends_the_exchange(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    async def stall(_: Received, respond: Responder) -> None:
        await respond.send(head=head(), body=b"x")
        await asyncio.sleep(60)

    bridge.answer = stall
    with sealed.httpx2_client() as client:
        with client.stream("GET", URL) as response:
            assert next(response.iter_raw()) == b"x"
        asyncio.run(eventually(lambda: bridge.cancelled == [True]))


def test_a_whole_answer_is_not_seen_as_cancelled(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    with sealed.httpx2_client() as client:
        for _ in range(50):
            client.get(URL)
    assert bridge.cancelled == []


def test_a_restarted_bridge_goes_unnoticed(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    with sealed.httpx2_client() as client:
        client.get(URL)
        bridge.restart_keys()
        assert client.post(URL, json={"a": 1}).status_code == 200
    assert bridge.calls == 3
    assert len(bridge.received) == 2


def test_a_relay_that_says_key_unknown_of_a_listed_key_is_not_believed(
    bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    bridge.refuse = OuterStatus.KEY_UNKNOWN
    with sealed.httpx2_client() as client:
        response = client.get(URL)
    assert response.headers["x-blindrelay-error"] == "relay/key_unknown"
    assert bridge.calls == 1


def test_a_consumed_body_is_not_sent_twice(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    with sealed.httpx2_client() as client:
        client.get(URL)
        bridge.restart_keys()
        response = client.post(URL, content=iter([b"once"]))
    assert response.headers["x-blindrelay-error"] == "relay/key_unknown"
    assert len(bridge.received) == 1


def test_directories_are_fetched_once_for_many_exchanges(
    bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    with sealed.httpx2_client() as client, ThreadPoolExecutor(16) as threads:
        statuses = list(threads.map(lambda _: client.get(URL).status_code, range(64)))
    assert statuses == [200] * 64
    assert bridge.directory_requests == 1


def empty(response: GetKeyDirectoryResponse) -> None:
    del response.directories[:]


def test_no_directory_means_that_no_bridge_is_up(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    bridge.substitute = empty
    with sealed.httpx2_client() as client, pytest.raises(httpx2.ConnectError, match="no bridge is up"):
        client.get(URL)
    assert bridge.calls == 0


def test_another_bridges_directory_sends_nothing(bridge: ScriptedBridge) -> None:
    other = ScriptedBridge()
    try:
        pinned = other.connection.partition("?")[2]
        sealed = SealedTransport(bridge.connection.partition("?")[0] + "?" + pinned)
        with sealed.httpx2_client() as client:
            response = client.get(URL)
    finally:
        other.close()
    assert response.status_code == 403
    assert response.headers["x-should-retry"] == "false"
    assert "not the pinned one's" in response.json()["error"]["message"]
    assert bridge.calls == 0


def test_a_fork_sends_nothing_more_and_is_kept_as_proof(
    bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    with sealed.httpx2_client() as client:
        client.get(URL)
        bridge.key, bridge.sequence = SealingKey.generate(bridge.key.not_before, bridge.key.not_after), 0
        response = client.get(URL)
        assert "two different key directories" in response.json()["error"]["message"]
        calls = bridge.calls
        assert client.get(URL).status_code == 403
    assert bridge.calls == calls
    assert len(sealed.proofs) == 1


@pytest.mark.parametrize(("offset", "message"), [(3_600, "clock is behind"), (-3_600, "clock is ahead")])
def test_a_clock_that_is_off_is_told(offset: int, message: str, bridge: ScriptedBridge) -> None:
    bridge.clock_offset = offset
    with SealedTransport(bridge.connection).httpx2_client() as client:
        response = client.get(URL)
    assert message in response.json()["error"]["message"]
    assert bridge.calls == 0


def test_what_the_relay_sees_of_a_call(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    with sealed.httpx2_client() as client:
        client.post(URL, json={}, headers={"x-stainless-os": "Linux"})
    metadata = bridge.received[0].metadata
    assert set(metadata) == {"authorization", "blindrelay-envelope-bin", "user-agent"}
    assert metadata["user-agent"].startswith("grpc-python-asyncio/")


def test_event_loops_come_and_go(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    client = sealed.async_httpx2_client()

    async def once() -> int:
        return int((await client.get(URL)).status_code)

    assert [asyncio.run(once()) for _ in range(4)] == [200] * 4


def test_a_closed_client_leaves_the_others_working(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    first, second = sealed.httpx2_client(), sealed.httpx2_client()
    first.get(URL)
    second.get(URL)
    first.close()
    assert second.get(URL).status_code == 200
    second.close()


def test_the_pool_timeout_bounds_the_wait_for_room(
    bridge: ScriptedBridge, sealed: SealedTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blindrelay.client.link.MAX_EXCHANGES", 1)

    async def stall(_: Received, respond: Responder) -> None:
        await respond.send(head=head())
        await asyncio.sleep(60)

    bridge.answer = stall
    client = sealed.httpx2_client(timeout=httpx2.Timeout(10, pool=0.2))
    with client, client.stream("GET", URL), pytest.raises(httpx2.PoolTimeout):
        client.get(URL)


def test_room_is_given_back_whatever_happens(
    bridge: ScriptedBridge, sealed: SealedTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blindrelay.client.link.MAX_EXCHANGES", 1)
    with sealed.httpx2_client(timeout=httpx2.Timeout(10, pool=5)) as client:
        for refuse in (OuterStatus.REFUSED, None, OuterStatus.OVERLOADED, None):
            bridge.refuse = refuse
            client.get(URL)
        assert client.get(URL).status_code == 200
        assert client.get("https://api.openai.com/" + "x" * 40_000).status_code == 400
        assert client.get(URL).status_code == 200


def test_a_forked_child_gets_a_clear_error(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    with sealed.httpx2_client() as client:
        client.get(URL)
        assert in_fork(lambda: client.get(URL).headers["x-blindrelay-error"]) == "client/fork"


def in_fork(work: Callable[[], str]) -> str:
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(writer, work().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


async def eventually(true: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if true():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not come true within ten seconds")
