"""Where each kind of error comes from, and how often the official SDKs retry it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from blindrelay.client import BlindRelayError, SealedTransport, errors
from blindrelay.v1.inner_pb2 import ErrorCode
from blindrelay.v1.outer_status import OuterStatus

from .conftest import (
    Received,
    Responder,
    ScriptedBridge,
    answering,
    failing,
    head,
    responding,
)

ONCE, AGAIN = 1, 3
"""Attempts with the default max_retries of the SDKs, which is 2."""

OUTER: dict[OuterStatus, tuple[int, Any]] = {
    OuterStatus.REFUSED: (ONCE, 403),
    OuterStatus.KEY_UNKNOWN: (AGAIN, 502),
    OuterStatus.MALFORMED: (ONCE, 502),
    OuterStatus.IDENTITY_UNKNOWN: (ONCE, 403),
    OuterStatus.UNAUTHENTICATED: (ONCE, 401),
    OuterStatus.BRIDGE_UNAVAILABLE: (AGAIN, httpx2.ConnectError),
    OuterStatus.DRAINING: (AGAIN, httpx2.ConnectError),
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
}

PROVIDER = dict.fromkeys((400, 401, 403, 404, 422), ONCE) | dict.fromkeys((408, 409, 429, 500), AGAIN)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes the pauses of the SDKs between attempts."""
    for sdk in (openai, anthropic):
        monkeypatch.setattr(sdk._base_client.BaseClient, "_calculate_retry_timeout", lambda *_, **__: 0.0)


Ask = Callable[[], Exception]


@pytest.fixture(params=["openai", "anthropic"])
def ask(request: pytest.FixtureRequest, sealed: SealedTransport) -> Ask:
    """Sends a request with that SDK and returns the error that the program gets."""
    with_openai = OpenAI(api_key="none", http_client=sealed.httpx2_client())
    with_anthropic = Anthropic(api_key="none", http_client=sealed.httpx2_client())

    def fail() -> Exception:
        messages: list[Any] = [{"role": "user", "content": "Well?"}]
        try:
            if request.param == "openai":
                with_openai.chat.completions.create(model="m", messages=messages)
            else:
                with_anthropic.messages.create(model="m", messages=messages, max_tokens=9)
        except (openai.APIError, anthropic.APIError) as error:
            return error
        raise AssertionError("it was answered")

    return fail


def origin_of(error: Exception) -> str:
    """The origin of an error, from the class of its cause or the body of the response."""
    if isinstance(cause := error.__cause__, BlindRelayError):
        assert cause.origin in str(cause)
        return cause.origin
    response = response_in(error)
    said = response.json()["error"]
    assert said["message"].startswith("BlindRelay: ")
    assert said["origin"] in said["message"]
    assert response.headers["x-blindrelay-error"].startswith(said["origin"] + "/")
    return str(said["origin"])


def response_in(error: Exception) -> Any:
    """The response that an SDK made this error of."""
    assert isinstance(error, openai.APIStatusError | anthropic.APIStatusError)
    return error.response


@pytest.mark.usefixtures("no_restart")
@pytest.mark.parametrize("status", OuterStatus, ids=lambda status: status.name.lower())
def test_relay_errors_are_retried_as_listed(status: OuterStatus, ask: Ask, bridge: ScriptedBridge) -> None:
    bridge.refuse = status
    error = ask()
    attempts, seen = OUTER[status]
    assert origin_of(error) == "relay"
    assert bridge.calls == attempts
    if isinstance(seen, int):
        assert response_in(error).status_code == seen
        assert response_in(error).headers["x-blindrelay-error"] == f"relay/{status.details}"
    else:
        assert isinstance(error.__cause__, seen)


@pytest.mark.parametrize("code", ErrorCode.values()[1:], ids=ErrorCode.Name)
def test_bridge_errors_are_retried_as_listed(
    code: ErrorCode.ValueType, ask: Ask, bridge: ScriptedBridge
) -> None:
    bridge.answer = failing(code, "it did not work")
    assert origin_of(ask()) == "bridge"
    assert bridge.calls == INNER[code]


@pytest.mark.parametrize("status", PROVIDER)
def test_provider_error_is_an_sdk_error(status: int, ask: Ask, bridge: ScriptedBridge) -> None:
    body = b'{"error": {"type": "t", "message": "the provider\'s own words"}}'
    fields = {"content_type": "application/json", "retry_after": "7", "x_request_id": "req-1"}
    bridge.answer = responding(status, body, **fields)
    response = response_in(ask())
    assert (response.status_code, response.content) == (status, body)
    assert {name: response.headers[name.replace("_", "-")] for name in fields} == fields
    assert "x-blindrelay-error" not in response.headers
    assert bridge.calls == PROVIDER[status]


async def altered(_: Received, respond: Responder) -> None:
    (record,) = respond.exchange.response.seal(head=head())
    await respond.raw(record[:-1] + bytes([record[-1] ^ 1]))


def test_cut_response_is_tried_again_and_an_altered_one_is_not(ask: Ask, bridge: ScriptedBridge) -> None:
    bridge.answer = answering(head=head(), body=b"{")
    assert isinstance(ask().__cause__, errors.CutResponseError)
    assert bridge.calls == AGAIN
    bridge.answer = altered
    assert response_in(ask()).headers["x-blindrelay-error"] == "relay/altered"
    assert bridge.calls == AGAIN + ONCE
