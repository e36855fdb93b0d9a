"""Headers, both ways."""

from __future__ import annotations

import pytest

from blindrelay.provider_bridge.policy.headers import (
    MAX_HEADERS,
    HeaderError,
    request_headers,
    response_headers,
)
from blindrelay.v1.http_headers import ACCOUNT_HEADERS, NEVER_SENT, REQUEST_HEADERS


@pytest.mark.parametrize("brought", [False, True])
def test_listed_header_passes_with_its_raw_value(brought: bool) -> None:
    for name in REQUEST_HEADERS:
        assert request_headers([(name, b"a \xff;b")], brought=brought) == [(name, b"a \xff;b")]


@pytest.mark.parametrize("name", sorted(ACCOUNT_HEADERS))
def test_credential_header_is_refused_beside_the_bridges(name: bytes) -> None:
    with pytest.raises(HeaderError, match="belongs to a credential") as refused:
        request_headers([(name, b"Bearer sk-secret")], brought=False, added=frozenset({name}))
    assert "sk-secret" not in str(refused.value)
    assert request_headers([(name, b"mine")], brought=True) == [(name, b"mine")]


@pytest.mark.parametrize(
    "name", [b"range", b"if-match", b"x-amz-date", b"content-language", b"x-stainless-os"]
)
def test_unlisted_header_passes_with_a_brought_credential_or_if_the_operator_adds_it(name: bytes) -> None:
    with pytest.raises(HeaderError, match=rf"{name.decode()} does not pass .*request_headers"):
        request_headers([(name, b"x")], brought=False)
    assert request_headers([(name, b"x")], brought=True) == [(name, b"x")]
    assert request_headers([(name, b"x")], brought=False, added=frozenset({name})) == [(name, b"x")]


NEVER_PASSED = (
    *sorted(NEVER_SENT),
    *(b"x-forwarded-for", b"sec-websocket-key"),
    # By name, so that a shorter list in the bridge is noticed.
    *(b"x-http-method", b"x-http-method-override", b"x-method-override", b"x-original-url", b"x-rewrite-url"),
    *(b"cookie", b"host", b"connection", b"transfer-encoding", b"forwarded", b"via"),
)


@pytest.mark.parametrize("name", dict.fromkeys(NEVER_PASSED))
def test_header_of_the_bridge_or_of_a_hop_is_refused(name: bytes) -> None:
    for brought, added in ((True, frozenset[bytes]()), (False, frozenset({name}))):
        with pytest.raises(HeaderError, match="never passed on"):
            request_headers([(name, b"x")], brought=brought, added=added)


def test_malformed_header_is_refused() -> None:
    for value in (b"a\rb", b"a\nb", b"a\x00b", b" a", b"a ", b"\x7f"):
        with pytest.raises(HeaderError, match="control byte"):
            request_headers([(b"accept", value)], brought=False)
    for name in (b"", b"Accept", b"accept ", b"accept:", b"a\r\n", b"a\xff"):
        with pytest.raises(HeaderError, match="lower case"):
            request_headers([(name, b"x")], brought=False)


def test_header_with_one_meaning_is_given_once() -> None:
    with pytest.raises(HeaderError, match="given twice"):
        request_headers([(b"content-type", b"application/json"), (b"content-type", b"a/b")], brought=False)
    listed = [(b"anthropic-beta", b"a"), (b"anthropic-beta", b"b")]
    assert request_headers(listed, brought=False) == listed


def test_too_many_headers_are_refused() -> None:
    headers = [(b"accept", b"x")] * MAX_HEADERS
    assert request_headers(headers, brought=False) == headers
    with pytest.raises(HeaderError, match="more than"):
        request_headers([*headers, (b"accept", b"x")], brought=False)


ACCOUNT = [
    *(b"x-ratelimit-remaining-tokens", b"X-RateLimit-Reset", b"anthropic-ratelimit-requests-limit"),
    *(b"anthropic-priority-input-tokens-remaining", b"ratelimit", b"RateLimit-Remaining"),
    *(b"x-ratelimitbysize-remaining-month", b"x-ms-rate-limit-remaining", b"azureml-model-session"),
    *(b"x-codex-primary-used-percent", b"x-tokens-remaining", b"x-envoy-ratelimited", b"retry-after-ms"),
    *(b"x-should-be-new-quota-header", b"server", b"openai-organization", b"anthropic-organization-id"),
    b"x-goog-upload-url",
]


@pytest.mark.parametrize("name", ACCOUNT)
def test_header_about_the_account_is_returned_to_its_owner_alone(name: bytes) -> None:
    """Otherwise one customer reads off it how much another sends."""
    for status in (200, 429):
        assert response_headers([(name, b"7")], chunked=False, brought=False, status=status) == []
    assert response_headers([(name, b"7")], chunked=False, brought=True) == [(name.lower(), b"7")]


@pytest.mark.parametrize("status", [200, 400, 429, 500, 503, 529])
def test_retry_after_is_returned_where_an_sdk_has_to_wait(status: int) -> None:
    passed = response_headers([(b"Retry-After", b"7")], chunked=False, status=status)
    assert passed == ([(b"retry-after", b"7")] if status in (429, 503, 529) else [])


@pytest.mark.parametrize("brought", [False, True])
def test_headers_for_sdks_are_returned_and_hops_and_cookies_are_not(brought: bool) -> None:
    read = [b"Content-Type", b"x-should-retry", b"x-request-id", b"request-id", b"location"]
    dropped = [
        *(b"Set-Cookie", b"set-cookie2", b"alt-svc", b"connection", b"keep-alive", b"proxy-authenticate"),
        *(b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"NEL", b"report-to"),
        *(b"strict-transport-security", b"sec-websocket-accept"),
    ]
    returned = response_headers([(name, b"a\xe9") for name in read + dropped], chunked=False, brought=brought)
    assert returned == [(name.lower(), b"a\xe9") for name in read]


def test_header_that_connection_names_is_dropped() -> None:
    named = [(b"Connection", b"keep-alive, X-Request-Id"), (b"connection", b"ETag")]
    received = [*named, (b"x-request-id", b"1"), (b"etag", b"2"), (b"date", b"3")]
    assert response_headers(received, chunked=False) == [(b"date", b"3")]


def test_length_beside_a_transfer_coding_is_dropped() -> None:
    received = [(b"content-length", b"5"), (b"content-type", b"text/plain")]
    assert response_headers(received, chunked=True) == [(b"content-type", b"text/plain")]
    assert response_headers(received, chunked=False) == received


def test_response_with_control_bytes_is_refused() -> None:
    for value in (b"a\rb", b"a\nb", b"a\x00b"):
        with pytest.raises(HeaderError, match="control byte"):
            response_headers([(b"x-request-id", value)], chunked=False)
        assert response_headers([(b"x-dropped", value)], chunked=False) == []
