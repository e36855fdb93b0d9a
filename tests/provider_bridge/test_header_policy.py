"""Headers, both ways."""

from __future__ import annotations

import pytest

from blindrelay.provider_bridge.header_policy import (
    CREDENTIAL_HEADERS,
    MAX_HEADERS,
    REQUEST_HEADERS,
    HeaderError,
    answer_headers,
    provider_headers,
    request_headers,
)


@pytest.mark.parametrize("name", sorted(REQUEST_HEADERS))
@pytest.mark.parametrize("brought", [False, True])
def test_a_listed_header_passes_with_its_raw_value(name: bytes, brought: bool) -> None:
    assert request_headers([(name, b"a \xff;b")], brought=brought) == [(name, b"a \xff;b")]


@pytest.mark.parametrize("name", sorted(CREDENTIAL_HEADERS))
def test_a_credential_header_is_refused_with_an_injected_credential(name: bytes) -> None:
    with pytest.raises(HeaderError, match="belongs to a credential") as refused:
        request_headers([(name, b"Bearer sk-secret")], brought=False)
    assert "sk-secret" not in str(refused.value)


@pytest.mark.parametrize("name", sorted(CREDENTIAL_HEADERS))
def test_a_credential_header_passes_with_a_brought_one(name: bytes) -> None:
    assert request_headers([(name, b"mine")], brought=True) == [(name, b"mine")]


@pytest.mark.parametrize(
    "name",
    [
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"accept-encoding",
        b"user-agent",
        b"cookie",
        b"proxy-authorization",
        b"x-stainless-os",
        b"x-forwarded-for",
        b"x-http-method-override",
        b"expect",
        b"te",
        b"upgrade",
    ],
)
@pytest.mark.parametrize("brought", [False, True])
def test_any_other_header_is_refused(name: bytes, brought: bool) -> None:
    with pytest.raises(HeaderError, match="not one that the bridge passes on"):
        request_headers([(name, b"x")], brought=brought)


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


@pytest.mark.parametrize(
    "name",
    [
        b"Content-Type",
        b"Retry-After",
        b"retry-after-ms",
        b"x-should-retry",
        b"x-request-id",
        b"request-id",
        b"openai-processing-ms",
        b"x-ratelimit-remaining-tokens",
        b"anthropic-ratelimit-requests-limit",
        b"location",
        b"Content-Encoding",
    ],
)
def test_what_sdks_read_passes_back(name: bytes) -> None:
    assert answer_headers([(name, b"a\xe9")], chunked=False) == [(name.lower(), b"a\xe9")]


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
        b"server",
        b"via",
        b"strict-transport-security",
        b"openai-organization",
        b"anthropic-organization-id",
        b"x-goog-upload-url",
    ],
)
def test_everything_else_is_dropped_from_the_answer(name: bytes) -> None:
    assert answer_headers([(name, b"x")], chunked=False) == []


def test_what_connection_names_is_dropped() -> None:
    received = [
        (b"Connection", b"keep-alive, X-Request-Id"),
        (b"x-request-id", b"1"),
        (b"connection", b"ETag"),
        (b"etag", b"2"),
        (b"date", b"3"),
    ]
    assert answer_headers(received, chunked=False) == [(b"date", b"3")]


def test_a_length_beside_a_transfer_coding_is_dropped() -> None:
    received = [(b"content-length", b"5"), (b"content-type", b"text/plain")]
    assert answer_headers(received, chunked=True) == [(b"content-type", b"text/plain")]
    assert answer_headers(received, chunked=False) == received


@pytest.mark.parametrize("value", [b"a\rb", b"a\nb", b"a\x00b"])
def test_an_answer_with_control_bytes_is_refused(value: bytes) -> None:
    with pytest.raises(HeaderError, match="control byte"):
        answer_headers([(b"x-request-id", value)], chunked=False)
    assert answer_headers([(b"x-dropped", value)], chunked=False) == []
