"""Headers, both ways, and URLs: each has one reading, or it is refused."""

from __future__ import annotations

from functools import partial

import pytest

from blindrelay.provider_bridge.policy.headers import MAX_HEADERS, HeaderError, request_headers
from blindrelay.provider_bridge.policy.headers import response_headers as checked_headers
from blindrelay.provider_bridge.policy.urls import MAX_URL_SIZE, Origin, UrlError, parse_origin, parse_url
from blindrelay.v1.http_headers import ACCOUNT_HEADERS, NEVER_SENT, REQUEST_HEADERS, Header

response_headers = partial(checked_headers, chunked=False)


def check_refused(reason: str, *headers: Header, brought: bool = False, added: bytes = b"") -> None:
    """They are refused for this reason, also if the operator adds one, and no value is quoted."""
    with pytest.raises(HeaderError, match=reason) as refused:
        request_headers(headers, brought=brought, added=frozenset({added}))
    assert "sk-secret" not in str(refused.value)


@pytest.mark.parametrize("brought", [False, True])
def test_listed_header_passes_with_its_raw_value(brought: bool) -> None:
    for name in REQUEST_HEADERS:
        assert request_headers([(name, b"a \xff;b")], brought=brought) == [(name, b"a \xff;b")]


@pytest.mark.parametrize("name", sorted(ACCOUNT_HEADERS))
def test_credential_header_is_refused_beside_the_bridges(name: bytes) -> None:
    check_refused("belongs to a credential", (name, b"Bearer sk-secret"), added=name)
    assert request_headers([(name, b"mine")], brought=True) == [(name, b"mine")]


def test_unlisted_header_passes_with_a_brought_credential_or_if_the_operator_adds_it() -> None:
    for name in (b"range", b"if-match", b"x-amz-date", b"content-language", b"x-stainless-os"):
        check_refused(rf"{name.decode()} does not pass .*request_headers", (name, b"x"))
        assert request_headers([(name, b"x")], brought=True) == [(name, b"x")]
        assert request_headers([(name, b"x")], brought=False, added=frozenset({name})) == [(name, b"x")]


def test_header_of_the_bridge_or_of_a_hop_is_refused() -> None:
    for name in (
        *NEVER_SENT,
        *(b"x-forwarded-for", b"sec-websocket-key"),
        # By name, so that a shorter list in the bridge is noticed.
        *(b"x-http-method", b"x-http-method-override", b"x-method-override", b"x-original-url"),
        *(b"cookie", b"host", b"connection", b"transfer-encoding", b"forwarded", b"via", b"x-rewrite-url"),
    ):
        check_refused("never passed on", (name, b"x"), added=name)
        check_refused("never passed on", (name, b"x"), brought=True)


def test_malformed_header_is_refused() -> None:
    for value in (b"a\rb", b"a\nb", b"a\x00b", b" a", b"a ", b"\x7f"):
        check_refused("control byte", (b"accept", value))
    for value in (b"a\rb", b"a\nb", b"a\x00b"):
        with pytest.raises(HeaderError, match="control byte"):
            response_headers([(b"x-request-id", value)])
        assert response_headers([(b"x-dropped", value)]) == []
    for name in (b"", b"Accept", b"accept ", b"accept:", b"a\r\n", b"a\xff"):
        check_refused("lower case", (name, b"x"))


def test_headers_are_counted() -> None:
    check_refused("given twice", (b"content-type", b"application/json"), (b"content-type", b"a/b"))
    listed = [(b"anthropic-beta", b"a"), (b"anthropic-beta", b"b")]
    assert request_headers(listed, brought=False) == listed
    headers = [(b"accept", b"x")] * MAX_HEADERS
    assert request_headers(headers, brought=False) == headers
    check_refused("more than", *headers, (b"accept", b"x"))


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
        assert response_headers([(name, b"7")], brought=False, status=status) == []
    assert response_headers([(name, b"7")], brought=True) == [(name.lower(), b"7")]


def test_retry_after_is_returned_where_an_sdk_has_to_wait() -> None:
    retry = [(b"retry-after", b"7")]
    statuses = (200, 400, 429, 500, 503, 529)
    assert [status for status in statuses if response_headers(retry, status=status)] == [429, 503, 529]


@pytest.mark.parametrize("brought", [False, True])
def test_headers_for_sdks_are_returned_and_hops_and_cookies_are_not(brought: bool) -> None:
    read = [b"Content-Type", b"x-should-retry", b"x-request-id", b"request-id", b"location"]
    dropped = [
        *(b"Set-Cookie", b"set-cookie2", b"alt-svc", b"connection", b"keep-alive", b"proxy-authenticate"),
        *(b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"NEL", b"report-to"),
        *(b"strict-transport-security", b"sec-websocket-accept"),
    ]
    returned = response_headers([(name, b"a\xe9") for name in read + dropped], brought=brought)
    assert returned == [(name.lower(), b"a\xe9") for name in read]


def test_header_that_the_connection_names_or_the_coding_replaces_is_dropped() -> None:
    named = [(b"Connection", b"keep-alive, X-Request-Id"), (b"connection", b"ETag")]
    received = [*named, (b"x-request-id", b"1"), (b"etag", b"2"), (b"date", b"3")]
    assert response_headers(received) == [(b"date", b"3")]
    received = [(b"content-length", b"5"), (b"content-type", b"text/plain")]
    assert checked_headers(received, chunked=True) == [(b"content-type", b"text/plain")]
    assert response_headers(received) == received


def test_url_keeps_its_exact_bytes() -> None:
    url = parse_url("https://api.openai.com/v1/models/a%20b?x=%2F&y[]=1&z=a/b?c")
    assert url.origin == Origin("https", "api.openai.com", 443)
    assert url.path == "/v1/models/a%20b"
    assert url.target == b"/v1/models/a%20b?x=%2F&y[]=1&z=a/b?c"


ORIGIN = "https://api.openai.com"
REFUSED = {
    "user information": [
        "https://user@api.openai.com/v1",
        "https://user:secret@api.openai.com/v1",
        "https://api.openai.com@evil.example/v1",
    ],
    "fragment": [f"{ORIGIN}/v1#", f"{ORIGIN}/v1#part", f"{ORIGIN}#@evil.example/v1"],
    "backslash": [f"{ORIGIN}\\@evil.example/v1", f"{ORIGIN}/v1\\models"],
    "not ASCII": [f"{ORIGIN}/v1/mødels", "https://api.opena\u0131.com/v1"],
    "space or a control": [
        *(f"{ORIGIN}/v1 /models", f" {ORIGIN}/v1", f"{ORIGIN}/v1\r\nhost: evil"),
        *(f"{ORIGIN}/v1\t", f"{ORIGIN}/v1\x00", f"{ORIGIN}/v1\x7f"),
    ],
    "empty": [""],
    "dot segment": [
        *(f"{ORIGIN}/v1/../admin", f"{ORIGIN}/v1/./models", f"{ORIGIN}/v1/..", f"{ORIGIN}/."),
        *(f"{ORIGIN}/v1/..;x/admin", f"{ORIGIN}/v1/models/..%2f..%2Fadmin", f"{ORIGIN}/v1/models/a%2F."),
    ],
    "escaped": [
        *(f"{ORIGIN}/v1/%2e%2e/admin", f"{ORIGIN}/v1/%2E./admin", f"{ORIGIN}/v1%5cmodels"),
        *(f"{ORIGIN}/v1%5Cmodels", f"{ORIGIN}/v1/models%00", f"{ORIGIN}/v1/models?x=%00"),
    ],
    "empty segment": [
        *(f"{ORIGIN}/v1/models/%2Fadmin", f"{ORIGIN}/v1/models/a%2f", f"{ORIGIN}/v1/models/a%2F%2fb"),
        *(f"{ORIGIN}//v1/models", f"{ORIGIN}/v1//models", f"{ORIGIN}/v1/models/", f"{ORIGIN}/"),
    ],
    "no path": [ORIGIN, f"{ORIGIN}?x=1"],
    "ends in a dot": [f"{ORIGIN}./v1", f"{ORIGIN}.:443/v1"],
    "lower-case": ["https://API.openai.com/v1"],
    "scheme": ["HTTPS://api.openai.com/v1", "ftp://api.openai.com/v1", "file:///etc/passwd"],
    "not absolute": ["//api.openai.com/v1", "/v1/models", "https:/api.openai.com/v1"],
    "host": [
        *("https:///v1", "https://api..openai.com/v1", "https://-api.openai.com/v1", "https://a%2ecom/v1"),
        *("https://[::1/v1", "https://[::0001]/v1", "https://[fe80::1%25eth0]/v1", "https://[::g]/v1"),
    ],
    "port": [f"{ORIGIN}:/v1", f"{ORIGIN}:0443/v1", f"{ORIGIN}:65536/v1", f"{ORIGIN}:44a/v1"],
    "RFC 3986": [
        *(f"{ORIGIN}/v1/<x>", f"{ORIGIN}/v1/%zz", f"{ORIGIN}/v1/%2", f"{ORIGIN}/v1?x=<y>", f"{ORIGIN}/v1?x=%")
    ],
}


@pytest.mark.parametrize("reason", REFUSED)
def test_url_with_two_readings_is_refused(reason: str) -> None:
    for url in REFUSED[reason]:
        with pytest.raises(UrlError, match=reason):
            parse_url(url)


def test_longest_url_is_read() -> None:
    stem = "https://api.openai.com/"
    assert parse_url(stem + "a" * (MAX_URL_SIZE - len(stem)))
    with pytest.raises(UrlError, match="longer"):
        parse_url(stem + "a" * (MAX_URL_SIZE - len(stem) + 1))


def test_origins_are_compared_with_their_ports() -> None:
    origins = [parse_origin(f"https://{host}") for host in ("a.example", "a.example:8443", "a.example.org")]
    origins += [parse_origin(f"http://{host}") for host in ("a.example", "a.example:443", "[::1]:8080")]
    assert len(set(origins)) == 6
    assert origins[0] == parse_origin("https://a.example:443")
    assert origins[3] == parse_origin("http://a.example:80")
    assert parse_origin("https://a.example:443").authority == "a.example"
    assert origins[5].authority == "[::1]:8080"
    for text in ("https://a.example/", "https://a.example/v1", "https://a.example?x"):
        with pytest.raises(UrlError):
            parse_origin(text)


def test_loopback_is_known() -> None:
    for host in ("127.0.0.1:8080", "127.8.8.8", "[::1]:8080", "localhost:8080"):
        assert parse_origin(f"http://{host}").is_loopback
    for host in ("localhost.example", "10.0.0.1", "127.0.0.1.example"):
        assert not parse_origin(f"http://{host}").is_loopback


def test_unlisted_parameter_is_found() -> None:
    for query in (
        *("key=x", "KEY=x", "k%65y=x", "a=b&api_key=x", "api-key=", "apikey=x", "a;access_token=x"),
        *("limit=1;key=x", "oauth_token=x", "$key=x", "$httpHeaders=x", "%24httpMethod=DELETE"),
        *("bearer_token=x", "api_key[]=x", "authorization=x", "X-HTTP-Method-Override=DELETE"),
        *("alt=sse&", "Alt=sse"),
    ):
        assert parse_url(f"https://a.example/v1?{query}").unlisted_parameter() is not None, query
    for query in (
        *("", "?alt=sse", "?pageToken=key", "?limit=1&after_id=2", "?beta=true", "?client_version=0.121.0"),
        *("?%24alt=json%3Benum-encoding%3Dint", "?page_size=5&endpoint=chat"),
    ):
        assert parse_url(f"https://a.example/v1{query}").unlisted_parameter() is None, query
