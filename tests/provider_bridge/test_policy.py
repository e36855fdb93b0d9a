"""What is decided from a request's head, and from its body with an injected credential."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from blindrelay.provider_bridge.errors import RequestError, SealedError
from blindrelay.provider_bridge.policy.request_policy import PlannedCall, plan_call
from blindrelay.provider_bridge.presets import presets
from blindrelay.v1.inner_pb2 import (
    CREDENTIAL_BROUGHT,
    CREDENTIAL_UNSPECIFIED,
    ERROR_CODE_INTERNAL,
    EXCHANGE_KIND_TUNNEL,
    EXCHANGE_KIND_UNSPECIFIED,
    EXECUTION_NOT_STARTED,
    EXECUTION_UNKNOWN,
    SHAPING_PROFILE_OFF,
    ErrorCode,
    Shaping,
)
from blindrelay.v1.limits import MAX_ERROR_MESSAGE

from .conftest import provider_at
from .sealed_caller import CHAT, request_head

PROVIDERS = [provider_at("http://127.0.0.1:1", preset) for preset in presets()]
TRANSCRIPTIONS = "https://api.openai.com/v1/audio/transcriptions"
MULTIPART = {b"content-type": b"multipart/form-data; boundary=x"}


def plan(*arguments: Any, **fields: Any) -> PlannedCall:
    return plan_call(request_head(*arguments, **fields), PROVIDERS)


def judge(*arguments: Any, body: bytes | None, **fields: Any) -> None:
    call = plan(*arguments, **fields)
    if body is not None and call.check is not None:
        call.check.apply(call.provider.stateless, body)


def form(disposition: bytes) -> bytes:
    return b"--x\r\nContent-Disposition: form-data; %s\r\n\r\nv\r\n--x--\r\n" % disposition


def refusal(*arguments: Any, body: bytes | None = None, **fields: Any) -> tuple[str, str]:
    """The code and the sentence that a request is refused with."""
    with pytest.raises(RequestError) as refused:
        judge(*arguments, body=body, **fields)
    assert refused.value.execution == EXECUTION_NOT_STARTED
    return ErrorCode.Name(refused.value.code).removeprefix("ERROR_CODE_"), str(refused.value)


def test_a_call_that_is_allowed() -> None:
    call = plan(CHAT + "?alt=1", headers={b"content-type": b"application/json", b"accept": b"*/*"})
    assert call.provider is PROVIDERS[0]
    assert (call.method, call.url.target) == ("POST", b"/v1/chat/completions?alt=1")
    assert call.headers == [(b"accept", b"*/*"), (b"content-type", b"application/json")]
    assert call.injected
    assert call.deadline == 60


@pytest.mark.parametrize(
    ("deadline_class", "seconds"), [(0, 3_600), (1, 60), (2, 600), (3, 3_600), (4, 21_600)]
)
def test_deadline_classes(deadline_class: int, seconds: int) -> None:
    assert plan(deadline_class=deadline_class).deadline == seconds


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"kind": EXCHANGE_KIND_TUNNEL}, "NOT_ALLOWED", "a WebSocket at"),
        ({"shaping": Shaping(profile=2)}, "UNSUPPORTED", "shaping"),  # type: ignore[arg-type]
        ({"retry_token": b"x"}, "UNSUPPORTED", "retry tokens"),
        ({"on_disconnect": 2}, "UNSUPPORTED", "on_disconnect"),
        ({"kind": EXCHANGE_KIND_UNSPECIFIED}, "MALFORMED", "kind"),
        ({"kind": 9}, "MALFORMED", "kind"),
        ({"credential": CREDENTIAL_UNSPECIFIED}, "MALFORMED", "credential"),
        ({"credential": 9}, "MALFORMED", "credential"),
        ({"deadline_class": 5}, "MALFORMED", "deadline class"),
        ({"deadline_class": -1}, "MALFORMED", "deadline class"),
    ],
)
def test_a_head_that_this_version_does_not_serve(fields: dict[str, Any], code: str, reason: str) -> None:
    refused = refusal(**fields)
    assert refused[0] == code
    assert reason in refused[1]


def test_shaping_that_is_off_is_served() -> None:
    assert plan(shaping=Shaping(profile=SHAPING_PROFILE_OFF))
    assert plan(shaping=Shaping())


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://api.openai.com/v1/../v1/chat/completions", "dot segment"),
        ("https://user@api.openai.com/v1/chat/completions", "user information"),
        ("https://api.openai.com:8443/v1/chat/completions", "does not serve https://api.openai.com:8443"),
        ("http://api.openai.com/v1/chat/completions", "does not serve http://api.openai.com"),
        ("http://api.openai.com:443/v1/chat/completions", "does not serve http://api.openai.com:443"),
        ("http://127.0.0.1:1/v1/chat/completions", "does not serve http://127.0.0.1:1"),
        ("https://other.example/v1/chat/completions", "does not serve https://other.example"),
        ("https://api.openai.com/v1/unknown", "credentials=brought"),
        ("https://api.openai.com/v2/chat", "does not allow POST /v2/chat"),
        (CHAT + "?key=x", "the query parameter key is not one that passes"),
        (CHAT + "?$httpMethod=DELETE", "the query parameter $httpMethod is not one that passes"),
    ],
)
def test_a_url_that_is_refused(url: str, reason: str) -> None:
    code, message = refusal(url)
    assert code == "NOT_ALLOWED"
    assert reason in message


@pytest.mark.parametrize("method", ["GET", "PUT", "post", "", "CONNECT"])
def test_a_method_that_is_refused(method: str) -> None:
    assert refusal(CHAT, method)[0] == "NOT_ALLOWED"


def test_the_default_port_is_the_same_origin() -> None:
    assert plan("https://api.openai.com:443/v1/chat/completions").provider is PROVIDERS[0]


_GEMINI = "https://generativelanguage.googleapis.com"
_MISTRAL = "https://api.mistral.ai"
_COHERE = "https://api.cohere.com"
_DEEPSEEK = "https://api.deepseek.com"


@pytest.mark.parametrize(
    ("method", "url"),
    [
        *(
            ("POST", f"{_GEMINI}/{version}/models/gemini-3:{call}")
            for version in ("v1", "v1beta", "v1alpha")
            for call in ("generateContent", "streamGenerateContent", "countTokens", "batchEmbedContents")
        ),
        ("GET", f"{_GEMINI}/v1alpha/models"),
        ("POST", f"{_MISTRAL}/v1/chat/completions"),
        ("POST", f"{_MISTRAL}/v1/fim/completions"),
        ("POST", f"{_MISTRAL}/v1/embeddings"),
        ("POST", f"{_MISTRAL}/v1/ocr"),
        ("GET", f"{_MISTRAL}/v1/models/mistral-large-latest"),
        ("POST", f"{_COHERE}/v2/chat"),
        ("POST", f"{_COHERE}/v2/embed"),
        ("POST", f"{_COHERE}/v2/rerank"),
        ("POST", f"{_COHERE}/v1/tokenize"),
        ("GET", f"{_COHERE}/v1/models"),
    ],
)
def test_a_call_of_another_provider_is_allowed(method: str, url: str) -> None:
    assert plan(url, method, headers={b"content-type": b"application/json"}).injected


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("POST", f"{_GEMINI}/v1alpha/cachedContents"),
        ("POST", f"{_GEMINI}/v1beta/models/veo:predictLongRunning"),
        ("POST", f"{_MISTRAL}/v1/files"),
        ("POST", f"{_MISTRAL}/v1/conversations"),
        ("POST", f"{_MISTRAL}/v1/agents/completions"),
        ("POST", f"{_COHERE}/v1/chat"),
        ("POST", f"{_COHERE}/v1/datasets"),
    ],
)
def test_a_stateful_call_of_another_provider_needs_a_credential_that_is_brought(
    method: str, url: str
) -> None:
    assert "credentials=brought" in refusal(url, method)[1]
    assert plan(url, method, credential=CREDENTIAL_BROUGHT)


def test_a_stateful_call_says_what_to_set() -> None:
    refused = refusal("https://api.openai.com/v1/files", "GET")
    assert refused == (
        "NOT_ALLOWED",
        "GET /v1/files is allowed only with your own credential (credentials=brought)",
    )


def test_a_brought_credential_passes_and_nothing_is_injected() -> None:
    headers = {b"authorization": b"Bearer mine", b"openai-organization": b"org"}
    call = plan(
        "https://api.openai.com/v1/files?key=x", "GET", headers=headers, credential=CREDENTIAL_BROUGHT
    )
    assert not call.injected
    assert dict(call.headers) == headers
    assert call.check is None, "the account is the customer's own"


def test_a_credential_header_with_an_injected_credential() -> None:
    code, message = refusal(headers={b"content-type": b"application/json", b"authorization": b"Bearer mine"})
    assert code == "NOT_ALLOWED"
    assert "authorization belongs to a credential" in message
    assert "mine" not in message


@pytest.mark.parametrize(
    "content_type",
    [
        b"text/plain",
        b"application/json; charset=utf-16",
        b"application/json, text/plain",
        b"application/jsonx",
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=x",
    ],
)
def test_a_body_of_a_kind_that_is_not_read(content_type: bytes) -> None:
    code, message = refusal(headers={b"content-type": content_type})
    assert code == "NOT_ALLOWED"
    assert "content-type" in message


def test_a_body_of_no_kind() -> None:
    assert refusal(headers={})[0] == "NOT_ALLOWED"


@pytest.mark.parametrize(
    "content_type",
    [b"application/json", b"Application/JSON; charset=UTF-8", b'application/json;charset="utf-8"'],
)
def test_json_by_its_names(content_type: bytes) -> None:
    judge(headers={b"content-type": content_type}, body=b"{}")


def test_multipart_only_where_it_is_taken() -> None:
    judge(TRANSCRIPTIONS, headers=MULTIPART, body=form(b'name="model"'))
    assert refusal(CHAT, headers=MULTIPART)[0] == "NOT_ALLOWED"
    refused = refusal(TRANSCRIPTIONS, headers=MULTIPART, body=form(b'name="file_id"'))
    assert refused[0] == "STORED_OBJECT"


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        (TRANSCRIPTIONS, {b"content-type": b"application/json"}),
        ("https://api.openai.com/v1/images/variations", {b"content-type": b"application/json"}),
    ],
)
def test_body_that_is_not_described_is_refused(url: str, headers: dict[bytes, bytes]) -> None:
    code, message = refusal(url, headers=headers)
    assert code == "NOT_ALLOWED"
    assert "no description of the bodies of /v1/" in message


@pytest.mark.parametrize(
    "content_type",
    [
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b"multipart/form-data; boundary=x; charset=utf-7",
        b"multipart/form-data; boundary*=utf-8''x",
        b"multipart/form-data; boundary=x; boundary=y",
        b"multipart/mixed; boundary=x",
    ],
)
def test_form_that_parsers_read_differently_is_refused(content_type: bytes) -> None:
    code, message = refusal(TRANSCRIPTIONS, headers={b"content-type": content_type})
    assert code == "NOT_ALLOWED"
    assert "content-type" in message


@pytest.mark.parametrize("value", [b"br", b"zstd", b"gzip, gzip", b"x-gzip", b""])
def test_content_encoding_that_cannot_be_decoded_is_refused(value: bytes) -> None:
    headers = {b"content-type": b"application/json", b"content-encoding": value}
    code, message = refusal(headers=headers)
    assert code == "NOT_ALLOWED"
    assert "send it uncompressed or as gzip" in message
    assert dict(plan(headers=headers, credential=CREDENTIAL_BROUGHT).headers) == headers


@pytest.mark.parametrize(
    ("value", "coding"), [(b"gzip", b"gzip"), (b"Deflate", b"deflate"), (b"identity", None)]
)
def test_content_encoding_that_is_decoded_does_not_go_on(value: bytes, coding: bytes | None) -> None:
    call = plan(headers={b"content-type": b"application/json", b"content-encoding": value})
    assert call.coding == coding
    assert call.headers == [(b"content-type", b"application/json")]


def test_a_body_that_stores() -> None:
    code, message = refusal("https://api.openai.com/v1/responses", body=b"{}")
    assert code == "STORED_OBJECT"
    assert 'set "store" to false' in message


def test_a_body_that_cannot_be_checked() -> None:
    code, message = refusal(body=b'{"store":false,"store":true}')
    assert code == "NOT_ALLOWED"
    assert "one key twice" in message


def test_body_of_a_get_is_not_judged_and_may_not_be_there() -> None:
    assert plan("https://api.openai.com/v1/models", "GET").bodiless
    assert not plan().bodiless


def test_a_brought_credential_asks_for_no_salt() -> None:
    assert plan(f"{_DEEPSEEK}/chat/completions", credential=CREDENTIAL_BROUGHT).check is None
    code, message = refusal(f"{_DEEPSEEK}/chat/completions", body=b"{}")
    assert code == "STORED_OBJECT"
    assert "user_id is missing: it must be a secret" in message


def test_what_an_operator_adds_passes() -> None:
    headers = {b"content-type": b"application/json", b"x-title": b"mine"}
    (openai,) = (each for each in PROVIDERS if each.name == "openai")
    added = replace(openai, request_headers=frozenset({b"x-title"}))
    assert dict(plan_call(request_head(headers=headers), [added]).headers) == headers
    assert "x-title does not pass" in refusal(headers=headers)[1]


@pytest.mark.parametrize(
    "query", ["client_version=0.121.0", "%24alt=json%3Benum-encoding%3Dint", "page_size=5&endpoint=chat"]
)
def test_harmless_parameters_pass(query: str) -> None:
    assert plan(f"https://api.openai.com/v1/models?{query}", "GET")


def test_a_long_message_is_cut() -> None:
    error = SealedError(ERROR_CODE_INTERNAL, "ä" * 1_000, EXECUTION_UNKNOWN).as_message()
    assert error.message == "ä" * (MAX_ERROR_MESSAGE // 2)
