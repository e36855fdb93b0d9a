"""How failures reach the application: as exceptions or as responses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from blindrelay.client import (
    BridgeError,
    CutResponseError,
    SealedTransport,
    UnreachableError,
)
from blindrelay.v1.inner_pb2 import ErrorCode, ExchangeError, Execution
from blindrelay.v1.outer_status import OuterStatus

from .conftest import (
    LIBRARIES,
    TAIL,
    URL,
    Received,
    Responder,
    ScriptedBridge,
    client_of,
    failing,
    head,
)


@LIBRARIES
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
        await respond.send(head=head(), body=b"whole", tail=TAIL)
        await respond.context.abort(*OuterStatus.INTERNAL.value)

    bridge.answer = whole_then_abort
    with sealed.httpx2_client() as client:
        assert client.get(URL).content == b"whole"


def test_bridge_error_amid_a_response_is_raised(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    code = ErrorCode.ERROR_CODE_PROVIDER_FAILED
    bridge.answer = failing(code, "the provider broke off", {"head": head(), "body": b"some"})
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


@LIBRARIES
def test_missing_relay_is_a_connect_error_until_it_returns(
    library: Any, bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    with client_of(library, sealed) as client:
        client.get(URL)
        bridge.stop()
        for _ in range(2):  # the second attempt waits for the channel to try again
            with pytest.raises(UnreachableError, match="is it running") as raised:
                client.get(URL)
            assert isinstance(raised.value, library.ConnectError)
        bridge.start()
        assert client.get(URL).status_code == 200
