"""A request's head decides whether the bridge makes the call, and how its body is judged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blindrelay.provider_bridge.errors import RequestError, SealedError
from blindrelay.provider_bridge.policy.request_policy import PlannedCall, plan_call
from blindrelay.provider_bridge.presets import presets
from blindrelay.v1.inner_pb2 import (
    CREDENTIAL_BROUGHT,
    ERROR_CODE_INTERNAL,
    EXCHANGE_KIND_TUNNEL,
    EXECUTION_NOT_STARTED,
    EXECUTION_UNKNOWN,
    ROUNDING_EXACT,
    SHAPING_PROFILE_BALANCED,
    ErrorCode,
    RequestHead,
    Shaping,
)
from blindrelay.v1.limits import MAX_ERROR_MESSAGE

from .conftest import provider_at
from .sealed_caller import CHAT, request_head

PROVIDERS = [provider_at("http://127.0.0.1:1", preset) for preset in presets()]
TRANSCRIPTIONS = "https://api.openai.com/v1/audio/transcriptions"
VARIATIONS = "https://api.openai.com/v1/images/variations"
DEEPSEEK = "https://api.deepseek.com/chat/completions"
JSON = b"application/json"
FORM = b"multipart/form-data"
HEADS = sorted((Path(__file__).parents[2] / "spec" / "vectors" / "head").glob("*.json"))


def plan(*arguments: Any, **fields: Any) -> PlannedCall:
    return plan_call(request_head(*arguments, **fields), PROVIDERS)


def judge(*arguments: Any, body: bytes | None, **fields: Any) -> None:
    call = plan(*arguments, **fields)
    if body is not None and call.check is not None:
        call.check.apply(call.provider.stateless, body)


def refusal(*arguments: Any, body: bytes | None = None, **fields: Any) -> tuple[str, str]:
    """The code and the sentence that a request is refused with."""
    with pytest.raises(RequestError) as refused:
        judge(*arguments, body=body, **fields)
    assert refused.value.execution == EXECUTION_NOT_STARTED
    return ErrorCode.Name(refused.value.code).removeprefix("ERROR_CODE_"), str(refused.value)


@pytest.mark.parametrize("path", HEADS, ids=[path.stem for path in HEADS])
def test_head_is_judged_as_its_vector_says(path: Path) -> None:
    vector = json.loads(path.read_text("utf-8"))
    head = RequestHead.FromString(bytes.fromhex(vector["head"]))
    if vector["expect"] == "accept":
        assert plan_call(head, PROVIDERS).method == head.method
        return
    with pytest.raises(RequestError) as refused:
        plan_call(head, PROVIDERS)
    assert ErrorCode.Name(refused.value.code) == f"ERROR_CODE_{vector['expect'].upper()}"


def test_allowed_call_is_planned() -> None:
    call = plan(CHAT + "?alt=1", headers={b"content-type": JSON, b"accept": b"*/*"})
    assert call.provider is PROVIDERS[0]
    assert (call.method, call.url.target) == ("POST", b"/v1/chat/completions?alt=1")
    assert call.headers == [(b"accept", b"*/*"), (b"content-type", JSON)]
    assert (call.injected, call.deadline) == (True, 60)


@pytest.mark.parametrize(
    ("deadline_class", "seconds"), [(0, 3_600), (1, 60), (2, 600), (3, 3_600), (4, 21_600)]
)
def test_deadline_classes(deadline_class: int, seconds: int) -> None:
    assert plan(deadline_class=deadline_class).deadline == seconds


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"kind": EXCHANGE_KIND_TUNNEL}, "NOT_ALLOWED", "a WebSocket at"),
        ({"shaping": Shaping(profile=SHAPING_PROFILE_BALANCED)}, "UNSUPPORTED", "shaping"),
        ({"shaping": Shaping(tick_class=1)}, "UNSUPPORTED", "shaping"),
        ({"shaping": Shaping(cell_class=1)}, "UNSUPPORTED", "shaping"),
        ({"price_table_hash": b"x"}, "UNSUPPORTED", "receipts"),
        ({"rounding": ROUNDING_EXACT}, "UNSUPPORTED", "receipts"),
        ({"retry_token": b"x"}, "UNSUPPORTED", "retry tokens"),
        ({"on_disconnect": 2}, "UNSUPPORTED", "on_disconnect"),
        ({"kind": 0}, "MALFORMED", "kind"),
        ({"kind": 9}, "MALFORMED", "kind"),
        ({"credential": 0}, "MALFORMED", "credential"),
        ({"credential": 9}, "MALFORMED", "credential"),
        ({"deadline_class": 5}, "MALFORMED", "deadline class"),
        ({"deadline_class": -1}, "MALFORMED", "deadline class"),
    ],
)
def test_head_of_another_version_is_refused(fields: dict[str, Any], code: str, reason: str) -> None:
    refused = refusal(**fields)
    assert refused[0] == code
    assert reason in refused[1]


def test_shaping_that_is_off_is_served() -> None:
    assert plan(shaping=Shaping(profile=1))  # type: ignore[arg-type]
    assert plan(shaping=Shaping())


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://api.openai.com/v1/../v1/chat/completions", "dot segment"),
        ("https://api.openai.com:8443/v1/chat/completions", "does not serve https://api.openai.com:8443"),
        ("http://api.openai.com:443/v1/chat/completions", "does not serve http://api.openai.com:443"),
        ("http://127.0.0.1:1/v1/chat/completions", "does not serve http://127.0.0.1:1"),
        ("https://api.openai.com/v1/unknown", "credentials=brought"),
        ("https://api.openai.com/v2/chat", "does not allow POST /v2/chat"),
        (CHAT + "?$httpMethod=DELETE", "the query parameter $httpMethod is not one that passes"),
    ],
)
def test_url_is_refused(url: str, reason: str) -> None:
    code, message = refusal(url)
    assert code == "NOT_ALLOWED"
    assert reason in message


@pytest.mark.parametrize("method", ["GET", "post", "", "CONNECT"])
def test_method_is_refused(method: str) -> None:
    assert refusal(CHAT, method)[0] == "NOT_ALLOWED"


def test_default_port_is_the_same_origin() -> None:
    assert plan("https://api.openai.com:443/v1/chat/completions").provider is PROVIDERS[0]


def test_refused_call_says_what_to_set() -> None:
    code, message = refusal("https://api.openai.com/v1/files", "GET")
    assert (code, message.partition(" is ")[0]) == ("NOT_ALLOWED", "GET /v1/files")
    assert "credentials=brought" in message


def test_brought_credential_passes_unjudged() -> None:
    headers = {b"authorization": b"Bearer mine", b"openai-organization": b"org", b"content-encoding": b"br"}
    for url in ("https://api.openai.com/v1/files?key=x", DEEPSEEK):
        call = plan(url, headers=headers, credential=CREDENTIAL_BROUGHT)
        assert dict(call.headers) == headers
        assert (call.injected, call.check, call.coding) == (False, None, None)


def test_header_is_refused_without_its_value() -> None:
    code, message = refusal(headers={b"content-type": JSON, b"authorization": b"Bearer mine"})
    assert code == "NOT_ALLOWED"
    assert "authorization belongs to a credential" in message
    assert "mine" not in message


@pytest.mark.parametrize(
    ("url", "content_type", "reason"),
    [
        (CHAT, b"", "content-type"),
        (CHAT, b"text/plain", "content-type"),
        (CHAT, b"application/json; charset=utf-16", "content-type"),
        (CHAT, b"application/json, text/plain", "content-type"),
        (CHAT, b"application/jsonx", "content-type"),
        (CHAT, FORM + b"; boundary=x", "content-type"),
        (TRANSCRIPTIONS, FORM, "content-type"),
        (TRANSCRIPTIONS, FORM + b"; boundary=", "content-type"),
        (TRANSCRIPTIONS, FORM + b"; boundary=x; charset=utf-7", "content-type"),
        (TRANSCRIPTIONS, FORM + b"; boundary*=utf-8''x", "content-type"),
        (TRANSCRIPTIONS, FORM + b"; boundary=x; boundary=y", "content-type"),
        (TRANSCRIPTIONS, b"multipart/mixed; boundary=x", "content-type"),
        (TRANSCRIPTIONS, JSON, "description"),
        (VARIATIONS, JSON, "description"),
    ],
)
def test_body_that_nobody_can_judge_is_refused(url: str, content_type: bytes, reason: str) -> None:
    code, message = refusal(url, headers={b"content-type": content_type})
    assert code == "NOT_ALLOWED"
    assert reason in message


@pytest.mark.parametrize(
    "content_type", [JSON, b"Application/JSON; charset=UTF-8", JSON + b';charset="utf-8"']
)
def test_json_is_judged_by_each_of_its_names(content_type: bytes) -> None:
    judge(headers={b"content-type": content_type}, body=b"{}")
    assert refusal(headers={b"content-type": content_type}, body=b'{"store":true}')[0] == "STORED_OBJECT"


def test_form_is_judged() -> None:
    headers = {b"content-type": FORM + b"; boundary=x"}
    form = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\nv\r\n--x--\r\n'
    judge(TRANSCRIPTIONS, headers=headers, body=form % b"model")
    assert refusal(TRANSCRIPTIONS, headers=headers, body=form % b"file_id")[0] == "STORED_OBJECT"
    assert refusal(TRANSCRIPTIONS, headers=headers, body=b"preamble")[0] == "NOT_ALLOWED"


def test_refused_body_says_why() -> None:
    assert 'set "store" to false' in refusal("https://api.openai.com/v1/responses", body=b"{}")[1]
    assert "user_id is missing" in refusal(DEEPSEEK, body=b"{}")[1]
    code, message = refusal(body=b'{"store":false,"store":true}')
    assert code == "NOT_ALLOWED"
    assert "one key twice" in message


@pytest.mark.parametrize("value", [b"br", b"zstd", b"gzip, gzip", b"x-gzip", b""])
def test_unknown_content_encoding_is_refused(value: bytes) -> None:
    code, message = refusal(headers={b"content-type": JSON, b"content-encoding": value})
    assert code == "NOT_ALLOWED"
    assert "gzip" in message


@pytest.mark.parametrize(
    ("value", "coding"), [(b"gzip", b"gzip"), (b"Deflate", b"deflate"), (b"identity", None)]
)
def test_content_encoding_that_is_decoded_does_not_go_on(value: bytes, coding: bytes | None) -> None:
    call = plan(headers={b"content-type": JSON, b"content-encoding": value})
    assert call.coding == coding
    assert call.headers == [(b"content-type", JSON)]


def test_get_has_no_body() -> None:
    assert plan("https://api.openai.com/v1/models", "GET").bodiless
    assert not plan().bodiless


def test_header_that_an_operator_adds_passes() -> None:
    headers = {b"content-type": JSON, b"x-title": b"mine"}
    added = replace(PROVIDERS[0], request_headers=frozenset({b"x-title"}))
    assert dict(plan_call(request_head(headers=headers), [added]).headers) == headers
    assert "x-title does not pass" in refusal(headers=headers)[1]


def test_long_message_is_cut() -> None:
    error = SealedError(ERROR_CODE_INTERNAL, "ä" * 1_000, EXECUTION_UNKNOWN).as_message()
    assert error.message == "ä" * (MAX_ERROR_MESSAGE // 2)
