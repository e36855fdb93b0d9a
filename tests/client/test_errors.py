"""How failures reach the application: as exceptions or as responses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import httpx2
import pytest

from blindrelay.client import (
    BridgeError,
    CutResponseError,
    RelayError,
    SealedTransport,
    UnreachableError,
)
from blindrelay.v1.inner_pb2 import ErrorCode, ExchangeError, Execution
from blindrelay.v1.outer_status import OuterStatus

from .conftest import TAIL, Received, Responder, ScriptedBridge, altered, answering, client_of, head

URL = "https://api.openai.com/v1/chat/completions"

LIBRARIES = [httpx, httpx2]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("cut", "message"),
    [(OuterStatus.BRIDGE_UNAVAILABLE, "could not reach the bridge"), (None, "ended the exchange")],
)
def test_cut_response_is_an_error(
    library: Any, cut: OuterStatus | None, message: str, bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    async def cut_short(_: Received, respond: Responder) -> None:
        await respond.send(head=head(), body=b"some")
        if cut is not None:
            await respond.context.abort(*cut.value)

    bridge.answer = cut_short
    with client_of(library, sealed) as client, pytest.raises(CutResponseError, match=message) as raised:
        client.get(URL)
    assert isinstance(raised.value, library.RemoteProtocolError)


def test_status_after_the_end_is_ignored(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    async def whole_then_abort(_: Received, respond: Responder) -> None:
        await respond.whole(b"whole")
        await respond.context.abort(*OuterStatus.INTERNAL.value)

    bridge.answer = whole_then_abort
    with sealed.httpx2_client() as client:
        assert client.get(URL).content == b"whole"


@pytest.mark.parametrize("change", [altered, lambda record: record[:-1], lambda record: b"", lambda r: r * 2])
def test_altered_head_is_not_retried(
    change: Callable[[bytes], bytes], bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    async def alter(_: Received, respond: Responder) -> None:
        (record,) = respond.exchange.response.seal(head=head(), body=b"x", tail=TAIL)
        await respond.raw(change(record))

    bridge.answer = alter
    with sealed.httpx2_client() as client:
        response = client.get(URL)
    assert response.headers["x-blindrelay-error"] == "relay/altered"
    assert response.headers["x-should-retry"] == "false"


def test_altered_piece_raises_after_valid_ones(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    async def alter(_: Received, respond: Responder) -> None:
        await respond.send(head=head(), body=b"valid")
        (record,) = respond.exchange.response.seal(body=b"altered")
        await respond.raw(altered(record))

    bridge.answer = alter
    with sealed.httpx2_client() as client, client.stream("GET", URL) as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"valid"
        with pytest.raises(httpx2.RemoteProtocolError, match="did not open"):
            next(pieces)


def test_bridge_error_amid_a_response_is_raised(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    error = ExchangeError(
        code=ErrorCode.ERROR_CODE_PROVIDER_FAILED,
        message="the provider broke off",
        execution=Execution.EXECUTION_STARTED,
    )
    bridge.answer = answering(head=head(), body=b"some", error=error)
    with sealed.httpx2_client() as client, pytest.raises(BridgeError, match="broke off") as raised:
        client.get(URL)
    assert isinstance(raised.value, httpx2.RemoteProtocolError)
    assert not raised.value.not_started


@pytest.mark.parametrize("number", [0, 99])
def test_unknown_error_numbers_are_internal(number: int) -> None:
    """spec/protocol.md, section 10.3."""
    sealed_error = ExchangeError(message="new")
    sealed_error.ParseFromString(bytes((0x08, number, 0x18, number)))
    error = BridgeError(sealed_error)
    assert (error.code, error.kind) == (ErrorCode.ERROR_CODE_INTERNAL, "internal")
    assert error.execution == Execution.EXECUTION_UNKNOWN


@pytest.mark.parametrize(
    ("status", "seen"),
    [
        (OuterStatus.REFUSED, 403),
        (OuterStatus.UNAUTHENTICATED, 401),
        (OuterStatus.MALFORMED, 502),
        (OuterStatus.IDENTITY_UNKNOWN, 403),
        (OuterStatus.OVERLOADED, 429),
        (OuterStatus.BRIDGE_UNAVAILABLE, httpx2.ConnectError),
        (OuterStatus.DRAINING, httpx2.ConnectError),
        (OuterStatus.DEADLINE, httpx2.ReadTimeout),
        (OuterStatus.INTERNAL, httpx2.ReadError),
    ],
)
def test_outer_status_is_raised_or_becomes_a_response(
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


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("https://api.anthropic.com/v1/messages", lambda body: body["error"]["message"]),
        ("https://api.openai.com/v1/responses", lambda body: body["error"]["message"]),
        ("https://g.example/v1beta/models/m:generateContent", lambda body: body["error"]["message"]),
        ("https://api.mistral.ai/v1/models", lambda body: body["message"]),
        ("https://api.cohere.com.blindrelay.invalid/v2/models", lambda body: body["message"]),
    ],
)
def test_error_body_has_the_form_of_its_api(
    url: str, where: Callable[[Any], str], bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    bridge.refuse = OuterStatus.REFUSED
    with sealed.httpx2_client() as client:
        body = client.post(url, json={}).json()
    assert "BlindRelay" in where(body)
    assert ("type" in body) == ("anthropic" in url or "mistral" in url)


@pytest.mark.parametrize("library", LIBRARIES)
def test_missing_relay_is_a_connect_error(
    library: Any, bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    bridge.stop()
    with client_of(library, sealed) as client:
        for _ in range(2):  # the second attempt waits for the channel to try again
            with pytest.raises(UnreachableError, match="is it running") as raised:
                client.get(URL)
            assert isinstance(raised.value, library.ConnectError)


def test_relay_that_returns_is_used_again(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    with sealed.httpx2_client() as client:
        client.get(URL)
        bridge.stop()
        with pytest.raises(httpx2.ConnectError):
            client.get(URL)
        bridge.start()
        assert client.get(URL).status_code == 200
