"""How failures reach the application, where each comes from, and how often the official SDKs retry it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anthropic
import grpc
import httpx2
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from blindrelay.client import (
    BlindRelayError,
    BridgeError,
    CutResponseError,
    RelayError,
    SealedTransport,
    UnreachableError,
)
from blindrelay.v1.inner_pb2 import ErrorCode, ExchangeError, Execution
from blindrelay.v1.outer_status import OuterStatus
from tests.patience import PATIENCE

from .conftest import LIBRARIES, URL, client_of
from .scripted_bridge import TAIL, Received, Responder, ScriptedBridge, answering, failing, head

ONCE, AGAIN = 1, 3
"""Attempts with the default max_retries of the SDKs, which is 2."""

OUTER: dict[OuterStatus, tuple[int, Any]] = {
    OuterStatus.REFUSED: (ONCE, 403),
    OuterStatus.KEY_UNKNOWN: (AGAIN, 502),
    OuterStatus.MALFORMED: (ONCE, 502),
    OuterStatus.LEASE_UNKNOWN: (AGAIN, httpx2.ConnectError),
    OuterStatus.NOT_IN_SCOPE: (ONCE, 403),
    OuterStatus.LIMIT_UNITS: (ONCE, 429),
    OuterStatus.LIMIT_EXCHANGES: (ONCE, 429),
    OuterStatus.LIMIT_BYTES: (ONCE, 429),
    OuterStatus.LIMIT_CONCURRENT: (ONCE, 429),
    OuterStatus.LIMIT_RATE: (ONCE, 429),
    OuterStatus.IDENTITY_UNKNOWN: (ONCE, 403),
    OuterStatus.UNAUTHENTICATED: (ONCE, 401),
    OuterStatus.BRIDGE_UNAVAILABLE: (AGAIN, httpx2.ConnectError),
    OuterStatus.DRAINING: (AGAIN, httpx2.ConnectError),
    OuterStatus.LEDGER_UNAVAILABLE: (AGAIN, 503),
    OuterStatus.OVERLOADED: (AGAIN, 429),
    OuterStatus.DEADLINE: (AGAIN, httpx2.ReadTimeout),
    OuterStatus.INTERNAL: (AGAIN, httpx2.ReadError),
}
"""With the status of the response that the SDK gets, or what is raised in it."""

INNER = {
    ErrorCode.ERROR_CODE_MALFORMED: ONCE,
    ErrorCode.ERROR_CODE_NOT_ALLOWED: ONCE,
    ErrorCode.ERROR_CODE_STORED_OBJECT: ONCE,
    ErrorCode.ERROR_CODE_TOO_LARGE: ONCE,
    ErrorCode.ERROR_CODE_DEADLINE: AGAIN,
    ErrorCode.ERROR_CODE_OVERLOADED: AGAIN,
    ErrorCode.ERROR_CODE_PROVIDER_UNREACHABLE: AGAIN,
    ErrorCode.ERROR_CODE_PROVIDER_FAILED: AGAIN,
    ErrorCode.ERROR_CODE_UNSUPPORTED: ONCE,
    ErrorCode.ERROR_CODE_INTERNAL: ONCE,
    ErrorCode.ERROR_CODE_DRAINING: AGAIN,
    ErrorCode.ERROR_CODE_PRICE_CHANGED: AGAIN,
    ErrorCode.ERROR_CODE_NO_PRICE: ONCE,
    ErrorCode.ERROR_CODE_MAX_UNITS: ONCE,
}


SDKError = openai.APIError | anthropic.APIError
Ask = Callable[[], SDKError]


@pytest.fixture(params=["openai", "anthropic"])
def ask(request: pytest.FixtureRequest, sealed: SealedTransport, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Sends a request with that SDK, without pauses, and returns the error that the program gets."""
    for sdk in (openai, anthropic):
        monkeypatch.setattr(sdk._base_client.BaseClient, "_calculate_retry_timeout", lambda *_, **__: 0.0)
    options: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Well?"}]}
    own: dict[str, Any] = {"api_key": "none", "http_client": sealed.httpx2_client()}

    def fail() -> SDKError:
        try:
            if request.param == "openai":
                OpenAI(**own).chat.completions.create(**options)
            else:
                Anthropic(**own).messages.create(**options, max_tokens=9)
        except (openai.APIError, anthropic.APIError) as error:
            return error
        raise AssertionError("it was answered")

    return fail


def response_in(error: SDKError) -> Any:
    """The response that an SDK made this error of."""
    assert isinstance(error, openai.APIStatusError | anthropic.APIStatusError)
    return error.response


def origin_of(error: SDKError) -> str:
    """The origin of an error, from the class of its cause or the body of the response."""
    if isinstance(cause := error.__cause__, BlindRelayError):
        assert cause.origin in str(cause)
        return cause.origin
    said = response_in(error).json()["error"]
    assert said["message"].startswith("BlindRelay: ")
    assert said["origin"] in said["message"]
    assert response_in(error).headers["x-blindrelay-error"].startswith(said["origin"] + "/")
    return str(said["origin"])


@pytest.mark.usefixtures("no_restart")
@pytest.mark.parametrize("status", OuterStatus, ids=lambda status: status.name.lower())
def test_relay_errors_are_retried_as_listed(status: OuterStatus, ask: Ask, bridge: ScriptedBridge) -> None:
    bridge.refuse = status
    error = ask()
    attempts, seen = OUTER[status]
    assert (origin_of(error), bridge.calls) == ("relay", attempts)
    if isinstance(seen, int):
        assert response_in(error).status_code == seen
        assert response_in(error).headers["x-blindrelay-error"] == f"relay/{status.details}"
        assert ("x-should-retry" in response_in(error).headers) == (attempts == ONCE)
    else:
        assert isinstance(error.__cause__, seen)


@pytest.mark.parametrize("code", ErrorCode.values()[1:], ids=ErrorCode.Name)
def test_bridge_errors_are_retried_as_listed(
    code: ErrorCode.ValueType, ask: Ask, bridge: ScriptedBridge
) -> None:
    bridge.answer = failing(code, "it did not work")
    error = ask()
    assert (origin_of(error), bridge.calls) == ("bridge", INNER[code])
    assert INNER[code] != ONCE or response_in(error).headers["x-should-retry"] == "false"


async def altered(_: Received, respond: Responder) -> None:
    (record,) = respond.exchange.response.seal(head=head())
    await respond.raw(record[:-1] + bytes([record[-1] ^ 1]))


def test_cut_response_is_tried_again_and_an_altered_one_is_not(ask: Ask, bridge: ScriptedBridge) -> None:
    bridge.answer = answering(head=head(), body=b"{")
    assert isinstance(ask().__cause__, CutResponseError)
    assert bridge.calls == AGAIN
    bridge.answer = altered
    assert response_in(ask()).headers["x-blindrelay-error"] == "relay/altered"
    assert bridge.calls == AGAIN + ONCE


@LIBRARIES
@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (OuterStatus.BRIDGE_UNAVAILABLE.value, "could not reach the bridge"),
        ((grpc.StatusCode.UNKNOWN, "any text"), r"it does not speak this protocol \(unknown\)"),
        (None, "ended the exchange"),
    ],
)
def test_cut_response_is_an_error(
    library: Any, cut: tuple[Any, str] | None, message: str, bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    async def cut_short(_: Received, respond: Responder) -> None:
        await respond.send(head=head(), body=b"some")
        if cut is not None:
            await respond.context.abort(*cut)

    bridge.answer = cut_short
    with client_of(library, sealed) as client, pytest.raises(CutResponseError, match=message) as raised:
        client.get(URL)
    assert isinstance(raised.value, library.RemoteProtocolError)
    assert "any text" not in str(raised.value)


def test_status_after_the_end_is_ignored(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    async def whole_then_abort(_: Received, respond: Responder) -> None:
        await respond.send(head=head(), body=b"whole", tail=TAIL)
        await respond.context.abort(*OuterStatus.INTERNAL.value)

    bridge.answer = whole_then_abort
    assert client.get(URL).content == b"whole"


def test_bridge_error_amid_a_response_is_raised(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    begun = {"head": head(), "body": b"some"}
    bridge.answer = failing(ErrorCode.ERROR_CODE_PROVIDER_FAILED, "the provider broke off", begun)
    with pytest.raises(BridgeError, match="broke off") as raised:
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
    ("url", "names"),
    [
        ("https://api.anthropic.com/v1/messages", {"type", "error"}),
        ("https://api.openai.com/v1/responses", {"error"}),
        ("https://g.example/v1beta/models/m:generateContent", {"error"}),
        ("https://api.mistral.ai/v1/models", {"object", "type", "code", "param", "message", "origin"}),
        ("https://api.cohere.com.blindrelay.invalid/v2/models", {"code", "message", "origin"}),
    ],
)
def test_error_body_has_the_form_of_its_api(
    url: str, names: set[str], bridge: ScriptedBridge, client: httpx2.Client
) -> None:
    bridge.refuse = OuterStatus.REFUSED
    body = client.post(url, json={}).json()
    assert set(body) == names
    assert "BlindRelay" in body.get("error", body)["message"]


@LIBRARIES
def test_missing_relay_is_a_connect_error_until_it_returns(
    library: Any, bridge: ScriptedBridge, sealed: SealedTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client_of(library, sealed) as client:
        client.get(URL)
        bridge.stop()
        with pytest.raises((UnreachableError, RelayError)):  # it may not have noticed yet
            client.get(URL)
        for _ in range(2):  # each waits for the channel to try again
            with pytest.raises(UnreachableError, match="is it running") as raised:
                client.get(URL)
            assert isinstance(raised.value, library.ConnectError)
        bridge.start()
        monkeypatch.setattr("blindrelay.client.relay_connection._NEXT_ATTEMPT_SECONDS", PATIENCE)
        assert client.get(URL).status_code == 200
