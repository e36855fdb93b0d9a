"""Where each kind of error comes from, and how often the official SDKs retry it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from blindrelay.client import BlindRelayError, SealedTransport, errors
from blindrelay.v1.inner_pb2 import ErrorCode, ExchangeError, Header, ResponseHead
from blindrelay.v1.outer_status import OuterStatus

from .conftest import TAIL, Received, Responder, Response, ScriptedBridge, altered, answering, head

ONCE, AGAIN = 1, 3
"""Attempts with the default max_retries of the SDKs, which is 2."""


OUTER = {
    OuterStatus.REFUSED: ONCE,
    OuterStatus.KEY_UNKNOWN: AGAIN,
    OuterStatus.MALFORMED: ONCE,
    OuterStatus.IDENTITY_UNKNOWN: ONCE,
    OuterStatus.UNAUTHENTICATED: ONCE,
    OuterStatus.BRIDGE_UNAVAILABLE: AGAIN,
    OuterStatus.DRAINING: AGAIN,
    OuterStatus.OVERLOADED: AGAIN,
    OuterStatus.DEADLINE: AGAIN,
    OuterStatus.INTERNAL: AGAIN,
}

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


def test_tables_are_complete() -> None:
    assert set(OUTER) == set(OuterStatus)
    assert set(INNER) == set(ErrorCode.values()[1:])


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
    assert isinstance(error, openai.APIStatusError | anthropic.APIStatusError)
    said = error.response.json()["error"]
    assert said["message"].startswith("BlindRelay: ")
    assert said["origin"] in said["message"]
    assert error.response.headers["x-blindrelay-error"].startswith(said["origin"] + "/")
    return str(said["origin"])


@pytest.mark.usefixtures("no_restart")
@pytest.mark.parametrize("status", OUTER, ids=lambda status: status.name.lower())
def test_relay_errors_are_retried_as_listed(status: OuterStatus, ask: Ask, bridge: ScriptedBridge) -> None:
    bridge.refuse = status
    assert origin_of(ask()) == "relay"
    assert bridge.calls == OUTER[status]


@pytest.mark.parametrize("code", INNER, ids=ErrorCode.Name)
def test_bridge_errors_are_retried_as_listed(
    code: ErrorCode.ValueType, ask: Ask, bridge: ScriptedBridge
) -> None:
    bridge.answer = answering(error=ExchangeError(code=code, message="it did not work"))
    assert origin_of(ask()) == "bridge"
    assert bridge.calls == INNER[code]


@pytest.mark.parametrize("status", PROVIDER)
def test_provider_error_is_an_sdk_error(status: int, ask: Ask, bridge: ScriptedBridge) -> None:
    body = b'{"error": {"type": "t", "message": "the provider\'s own words"}}'
    fields = {
        "content-type": "application/json",
        "retry-after": "7",
        "retry-after-ms": "7000",
        "x-request-id": "req-1",
    }
    headers = [Header(name=name.encode(), value=value.encode()) for name, value in fields.items()]
    bridge.answer = answering(head=ResponseHead(status=status, headers=headers), body=body, tail=TAIL)
    error = ask()
    assert isinstance(error, openai.APIStatusError | anthropic.APIStatusError)
    assert (error.status_code, error.response.content) == (status, body)
    assert {name: error.response.headers[name] for name in fields} == fields
    assert "x-blindrelay-error" not in error.response.headers
    assert bridge.calls == PROVIDER[status]


@pytest.mark.parametrize(("advice", "status", "attempts"), [("false", 500, ONCE), ("true", 400, AGAIN)])
def test_retry_advice_of_the_provider_is_followed(
    advice: str, status: int, attempts: int, ask: Ask, bridge: ScriptedBridge
) -> None:
    advising = ResponseHead(status=status, headers=[Header(name=b"x-should-retry", value=advice.encode())])
    bridge.answer = answering(head=advising, body=b"{}", tail=TAIL)
    ask()
    assert bridge.calls == attempts


async def alter(_: Received, respond: Responder) -> None:
    (record,) = respond.exchange.response.seal(head=head())
    await respond.raw(altered(record))


@pytest.mark.parametrize(
    ("answer", "kind", "attempts"),
    [(answering(head=head(), body=b"{"), errors.CutResponseError, AGAIN), (alter, None, ONCE)],
)
def test_cut_and_altered_responses_are_distinguished(
    answer: Response, kind: type[Exception] | None, attempts: int, ask: Ask, bridge: ScriptedBridge
) -> None:
    bridge.answer = answer
    error = ask()
    if kind is None:
        assert isinstance(error, openai.APIStatusError | anthropic.APIStatusError)
        assert error.response.headers["x-blindrelay-error"] == "relay/altered"
    else:
        assert isinstance(error.__cause__, kind)
    assert bridge.calls == attempts
