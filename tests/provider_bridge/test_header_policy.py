"""Headers, both ways."""

from __future__ import annotations

import pytest

from blindrelay.provider_bridge.policy.headers import (
    MAX_HEADERS,
    HeaderError,
    provider_headers,
    request_headers,
    response_headers,
)
from blindrelay.v1.http_headers import ACCOUNT_HEADERS, NEVER_SENT, REQUEST_HEADERS


@pytest.mark.parametrize("name", sorted(REQUEST_HEADERS))
@pytest.mark.parametrize("brought", [False, True])
def test_a_listed_header_passes_with_its_raw_value(name: bytes, brought: bool) -> None:
    assert request_headers([(name, b"a \xff;b")], brought=brought) == [(name, b"a \xff;b")]


@pytest.mark.parametrize("name", sorted(ACCOUNT_HEADERS))
def test_a_credential_header_is_refused_with_an_injected_credential(name: bytes) -> None:
    with pytest.raises(HeaderError, match="belongs to a credential") as refused:
        request_headers([(name, b"Bearer sk-secret")], brought=False, added=frozenset({name}))
    assert "sk-secret" not in str(refused.value)


@pytest.mark.parametrize(
    "name",
    [
        *sorted(ACCOUNT_HEADERS),
        b"range",
        b"if-match",
        b"if-none-match",
        b"date",
        b"x-amz-date",
        b"x-amz-security-token",
        b"cf-aig-authorization",
        b"x-goog-upload-command",
    ],
)
def test_with_a_brought_credential_other_headers_pass(name: bytes) -> None:
    assert request_headers([(name, b"mine")], brought=True) == [(name, b"mine")]


@pytest.mark.parametrize(
    "name", [b"range", b"if-match", b"x-amz-date", b"content-language", b"x-stainless-os"]
)
def test_with_an_injected_credential_other_headers_are_refused_unless_the_operator_adds_them(
    name: bytes,
) -> None:
    with pytest.raises(HeaderError, match=rf"{name.decode()} does not pass .*request_headers"):
        request_headers([(name, b"x")], brought=False)
    assert request_headers([(name, b"x")], brought=False, added=frozenset({name})) == [(name, b"x")]


NEVER_PASSED = (
    *sorted(NEVER_SENT),
    *(b"x-forwarded-for", b"sec-websocket-key"),
    # By name, so that a shorter list in the bridge is noticed.
    *(b"x-http-method", b"x-http-method-override", b"x-method-override", b"x-original-url", b"x-rewrite-url"),
    *(b"cookie", b"host", b"connection", b"transfer-encoding", b"forwarded", b"via"),
)


@pytest.mark.parametrize("name", dict.fromkeys(NEVER_PASSED))
@pytest.mark.parametrize(("brought", "added"), [(True, False), (False, True)])
def test_what_the_bridge_makes_or_a_hop_owns_is_always_refused(
    name: bytes, brought: bool, added: bool
) -> None:
    with pytest.raises(HeaderError, match="never passed on"):
        request_headers([(name, b"x")], brought=brought, added=frozenset({name} if added else ()))


@pytest.mark.parametrize(
    "value", [b"a\rb", b"a\nb", b"a\r\nhost: b", b"a\x00b", b"\x01", b" a", b"a ", b"\x7f"]
)
def test_a_value_with_control_bytes_is_refused(value: bytes) -> None:
    with pytest.raises(HeaderError, match="control byte"):
        request_headers([(b"accept", value)], brought=False)


@pytest.mark.parametrize("name", [b"", b"Accept", b"accept ", b"accept:", b"acc\r\nept", b"acc\xffept"])
def test_a_name_that_is_no_lower_case_token_is_refused(name: bytes) -> None:
    with pytest.raises(HeaderError, match="not a token in lower case"):
        request_headers([(name, b"x")], brought=False)


def test_a_header_with_one_meaning_is_given_once() -> None:
    with pytest.raises(HeaderError, match="given twice"):
        request_headers(
            [(b"content-type", b"application/json"), (b"content-type", b"text/plain")], brought=False
        )
    listed = [(b"anthropic-beta", b"a"), (b"anthropic-beta", b"b")]
    assert request_headers(listed, brought=False) == listed


def test_too_many_headers_are_refused() -> None:
    headers = [(b"accept", b"x")] * MAX_HEADERS
    assert request_headers(headers, brought=False) == headers
    with pytest.raises(HeaderError, match="more than"):
        request_headers([*headers, (b"accept", b"x")], brought=False)


def test_the_bridge_makes_the_rest_itself() -> None:
    made = provider_headers("a.example", [(b"accept", b"*/*")], (b"x-api-key", b"sk"), 12)
    assert made == [
        (b"host", b"a.example"),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"identity"),
        (b"content-length", b"12"),
        (b"user-agent", b"blindrelay"),
        (b"x-api-key", b"sk"),
    ]
    assert dict(provider_headers("a.example", [], None, None)) == {
        b"host": b"a.example",
        b"accept-encoding": b"identity",
        b"user-agent": b"blindrelay",
    }


SHARED_LIMITS = [
    b"x-ratelimit-remaining-tokens",
    b"x-ratelimit-limit-tokens-minute",
    b"X-RateLimit-Reset",
    b"anthropic-ratelimit-requests-limit",
    b"anthropic-priority-input-tokens-remaining",
    b"ratelimit",
    b"ratelimit-policy",
    b"RateLimit-Remaining",
    b"x-ratelimitbysize-remaining-month",
    b"x-ms-rate-limit-remaining",
    b"azureml-model-session",
    b"x-codex-primary-used-percent",
    b"x-tokens-remaining",
    b"x-envoy-ratelimited",
    b"retry-after-ms",
    b"x-should-be-new-quota-header",
]


@pytest.mark.parametrize("name", SHARED_LIMITS)
def test_limits_pass_back_to_their_own_account_only(name: bytes) -> None:
    """Or one customer reads off them how much another sends."""
    for status in (200, 429):
        assert response_headers([(name, b"7")], chunked=False, brought=False, status=status) == []
    assert response_headers([(name, b"7")], chunked=False, brought=True) == [(name.lower(), b"7")]


@pytest.mark.parametrize("status", [200, 400, 429, 500, 503, 529])
def test_retry_after_passes_where_an_sdk_has_to_wait(status: int) -> None:
    passed = response_headers([(b"Retry-After", b"7")], chunked=False, status=status)
    assert passed == ([(b"retry-after", b"7")] if status in (429, 503, 529) else [])


@pytest.mark.parametrize(
    "name",
    [
        b"Content-Type",
        b"x-should-retry",
        b"x-request-id",
        b"request-id",
        b"openai-processing-ms",
        b"location",
        b"Content-Encoding",
    ],
)
@pytest.mark.parametrize("brought", [False, True])
def test_what_sdks_read_passes_back(name: bytes, brought: bool) -> None:
    assert response_headers([(name, b"a\xe9")], chunked=False, brought=brought) == [(name.lower(), b"a\xe9")]


@pytest.mark.parametrize(
    "name",
    [
        b"Set-Cookie",
        b"set-cookie2",
        b"alt-svc",
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"strict-transport-security",
        b"NEL",
        b"report-to",
        b"sec-websocket-accept",
    ],
)
@pytest.mark.parametrize("brought", [False, True])
def test_some_headers_are_dropped_from_every_answer(name: bytes, brought: bool) -> None:
    assert response_headers([(name, b"x")], chunked=False, brought=brought) == []


@pytest.mark.parametrize(
    "name",
    [b"server", b"via", b"openai-organization", b"anthropic-organization-id", b"x-goog-upload-url"],
)
def test_what_names_the_account_passes_back_to_its_owner_only(name: bytes) -> None:
    assert response_headers([(name, b"x")], chunked=False) == []
    assert response_headers([(name, b"x")], chunked=False, brought=True) == [(name, b"x")]


def test_what_connection_names_is_dropped() -> None:
    received = [
        (b"Connection", b"keep-alive, X-Request-Id"),
        (b"x-request-id", b"1"),
        (b"connection", b"ETag"),
        (b"etag", b"2"),
        (b"date", b"3"),
    ]
    assert response_headers(received, chunked=False) == [(b"date", b"3")]


def test_a_length_beside_a_transfer_coding_is_dropped() -> None:
    received = [(b"content-length", b"5"), (b"content-type", b"text/plain")]
    assert response_headers(received, chunked=True) == [(b"content-type", b"text/plain")]
    assert response_headers(received, chunked=False) == received


@pytest.mark.parametrize("value", [b"a\rb", b"a\nb", b"a\x00b"])
def test_an_answer_with_control_bytes_is_refused(value: bytes) -> None:
    with pytest.raises(HeaderError, match="control byte"):
        response_headers([(b"x-request-id", value)], chunked=False)
    assert response_headers([(b"x-dropped", value)], chunked=False) == []
