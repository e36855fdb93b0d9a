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
    ErrorCode,
    RequestHead,
    Shaping,
)
from blindrelay.v1.limits import MAX_ERROR_MESSAGE

from .conftest import provider_at
from .sealed_caller import CHAT, request_head

PROVIDERS = [provider_at("http://127.0.0.1:1", preset) for preset in presets()]
API = "https://api.openai.com"
TRANSCRIPTIONS = f"{API}/v1/audio/transcriptions"
DEEPSEEK = "https://api.deepseek.com/chat/completions"
JSON = b"application/json"
FORM = b"multipart/form-data"
HEADS = sorted((Path(__file__).parents[2] / "spec" / "vectors" / "head").glob("*.json"))
MODEL_FORM = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nv\r\n--x--\r\n'
STORED_FORM = MODEL_FORM.replace(b"model", b"file_id")


def plan(**fields: Any) -> PlannedCall:
    return plan_call(request_head(**fields), PROVIDERS)


def judge(body: bytes | None = None, **fields: Any) -> None:
    call = plan(**fields)
    if body is not None:
        assert call.check is not None
        call.check.apply(call.provider.stateless, body)


def typed(content_type: bytes, **headers: bytes) -> dict[bytes, bytes]:
    """These headers; an underscore is a hyphen."""
    named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return {b"content-type": content_type} | named


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
    call = plan(url=CHAT + "?alt=1", headers={b"content-type": JSON, b"accept": b"*/*"})
    assert call.provider is PROVIDERS[0]
    assert (call.method, call.url.target) == ("POST", b"/v1/chat/completions?alt=1")
    assert call.headers == [(b"accept", b"*/*"), (b"content-type", JSON)]
    assert (call.injected, call.deadline, call.bodiless) == (True, 60, False)
    assert plan(url=f"{API}:443/v1/chat/completions").provider is PROVIDERS[0], "it is the usual port"
    assert plan(url=f"{API}/v1/models", method="GET").bodiless
    assert plan(shaping=Shaping(profile=1))  # type: ignore[arg-type]
    assert [plan(deadline_class=each).deadline for each in range(5)] == [3_600, 60, 600, 3_600, 21_600]


OTHER_VERSION: list[tuple[dict[str, Any], str, str]] = [
    ({"shaping": Shaping(profile=4)}, "UNSUPPORTED", "shaping"),  # type: ignore[arg-type]
    ({"shaping": Shaping(tick_class=1)}, "UNSUPPORTED", "shaping"),
    ({"shaping": Shaping(cell_class=1)}, "UNSUPPORTED", "shaping"),
    ({"price_table_hash": b"x"}, "MALFORMED", "hash of a price table"),
    ({"rounding": 9}, "UNSUPPORTED", "rounding"),
    ({"retry_token": b"x"}, "UNSUPPORTED", "retry tokens"),
    ({"on_disconnect": 2}, "UNSUPPORTED", "on_disconnect"),
    *(({"kind": kind}, "MALFORMED", "kind") for kind in (0, 9)),
    *(({"credential": credential}, "MALFORMED", "credential") for credential in (0, 9)),
    *(({"deadline_class": deadline}, "MALFORMED", "deadline class") for deadline in (5, -1)),
]
NOT_ALLOWED: list[tuple[dict[str, Any], str]] = [
    ({"kind": EXCHANGE_KIND_TUNNEL}, "a WebSocket at"),
    ({"url": f"{API}/v1/../v1/chat/completions"}, "dot segment"),
    ({"url": f"{API}:8443/v1/chat/completions"}, "does not serve https://api.openai.com:8443"),
    ({"url": "http://api.openai.com:443/v1/chat/completions"}, "not serve http://api.openai.com:443"),
    ({"url": "http://127.0.0.1:1/v1/chat/completions"}, "does not serve http://127.0.0.1:1"),
    ({"url": f"{API}/v1/unknown"}, "credentials=brought"),
    ({"url": f"{API}/v1/files", "method": "GET"}, "GET /v1/files is .*credentials=brought"),
    ({"url": f"{API}/v2/chat"}, "does not allow POST /v2/chat"),
    ({"url": f"{CHAT}?$httpMethod=DELETE"}, r"the query parameter \$httpMethod is not one that passes"),
    *(({"method": method, "headers": {}}, " ") for method in ("GET", "post", "", "CONNECT")),
    ({"headers": typed(JSON, authorization=b"Bearer mine")}, "authorization belongs to a credential"),
    ({"headers": typed(JSON, x_title=b"mine")}, "x-title does not pass"),
    *(
        ({"headers": typed(content_type)}, "content-type")
        for content_type in (
            *(b"", b"text/plain", JSON + b"; charset=utf-16", JSON + b", text/plain", JSON + b"x"),
            FORM + b"; boundary=x",
        )
    ),
    *(
        ({"url": TRANSCRIPTIONS, "headers": typed(content_type)}, "content-type")
        for content_type in (
            *(FORM, FORM + b"; boundary=", FORM + b"; boundary=x; charset=utf-7"),
            *(FORM + b"; boundary*=utf-8''x", FORM + b"; boundary=x; boundary=y"),
            b"multipart/mixed; boundary=x",
        )
    ),
    ({"url": TRANSCRIPTIONS}, "description"),
    ({"url": f"{API}/v1/images/variations"}, "description"),
    *(
        ({"headers": typed(JSON, content_encoding=coding)}, "gzip")
        for coding in (b"br", b"zstd", b"gzip, gzip", b"x-gzip", b"")
    ),
    ({"body": b'{"store":false,"store":true}'}, "one key twice"),
    ({"url": TRANSCRIPTIONS, "headers": typed(FORM + b"; boundary=x"), "body": b"preamble"}, "begin"),
]
STORED: list[tuple[dict[str, Any], str]] = [
    *(
        ({"headers": typed(content_type), "body": b'{"store":true}'}, "store")
        for content_type in (JSON, b"Application/JSON; charset=UTF-8", JSON + b';charset="utf-8"')
    ),
    ({"url": f"{API}/v1/responses", "body": b"{}"}, 'set "store" to false'),
    ({"url": DEEPSEEK, "body": b"{}"}, "user_id is missing"),
    ({"url": TRANSCRIPTIONS, "headers": typed(FORM + b"; boundary=x"), "body": STORED_FORM}, "file_id"),
]


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        *OTHER_VERSION,
        *((fields, "NOT_ALLOWED", reason) for fields, reason in NOT_ALLOWED),
        *((fields, "STORED_OBJECT", reason) for fields, reason in STORED),
    ],
)
def test_request_is_refused(fields: dict[str, Any], code: str, reason: str) -> None:
    with pytest.raises(RequestError, match=reason) as refused:
        judge(**fields)
    assert refused.value.execution == EXECUTION_NOT_STARTED
    assert ErrorCode.Name(refused.value.code) == f"ERROR_CODE_{code}"
    assert "mine" not in str(refused.value), "no header's value is quoted"


def test_body_is_judged_by_its_type() -> None:
    judge(b"{}", headers=typed(b"Application/JSON; charset=UTF-8"))
    judge(MODEL_FORM, url=TRANSCRIPTIONS, headers=typed(FORM + b"; boundary=x"))


def test_brought_credential_passes_unjudged() -> None:
    headers = {b"authorization": b"Bearer mine", b"openai-organization": b"org", b"content-encoding": b"br"}
    for url in (f"{API}/v1/files?key=x", DEEPSEEK):
        call = plan(url=url, headers=headers, credential=CREDENTIAL_BROUGHT)
        assert dict(call.headers) == headers
        assert (call.injected, call.check, call.coding) == (False, None, None)


def test_content_encoding_that_is_decoded_does_not_go_on() -> None:
    for value, coding in ((b"gzip", b"gzip"), (b"Deflate", b"deflate"), (b"identity", None)):
        call = plan(headers=typed(JSON, content_encoding=value))
        assert (call.coding, call.headers) == (coding, [(b"content-type", JSON)])


def test_header_that_an_operator_adds_passes() -> None:
    added = replace(PROVIDERS[0], request_headers=frozenset({b"x-title"}))
    call = plan_call(request_head(headers=typed(JSON, x_title=b"mine")), [added])
    assert (b"x-title", b"mine") in call.headers


def test_long_message_is_cut() -> None:
    error = SealedError(ERROR_CODE_INTERNAL, "ä" * 1_000, EXECUTION_UNKNOWN).as_message()
    assert error.message == "ä" * (MAX_ERROR_MESSAGE // 2)
