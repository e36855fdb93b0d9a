"""URLs: one reading, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindrelay.provider_bridge.policy.urls import MAX_URL_SIZE, Origin, UrlError, parse_origin, parse_url


def test_a_url_keeps_its_exact_bytes() -> None:
    url = parse_url("https://api.openai.com/v1/models/a%20b?x=%2F&y[]=1&z=a/b?c")
    assert url.origin == Origin("https", "api.openai.com", 443)
    assert url.path == "/v1/models/a%20b"
    assert url.target == b"/v1/models/a%20b?x=%2F&y[]=1&z=a/b?c"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://user@api.openai.com/v1", "user information"),
        ("https://user:secret@api.openai.com/v1", "user information"),
        ("https://api.openai.com@evil.example/v1", "user information"),
        ("https://api.openai.com/v1#", "fragment"),
        ("https://api.openai.com/v1#part", "fragment"),
        ("https://api.openai.com#@evil.example/v1", "fragment"),
        ("https://api.openai.com\\@evil.example/v1", "backslash"),
        ("https://api.openai.com/v1\\models", "backslash"),
        ("https://api.openai.com/v1/mødels", "not ASCII"),
        ("https://api.opena\u0131.com/v1", "not ASCII"),
        ("https://api.openai.com/v1 /models", "space or a control"),
        (" https://api.openai.com/v1", "space or a control"),
        ("https://api.openai.com/v1\r\nhost: evil", "space or a control"),
        ("https://api.openai.com/v1\t", "space or a control"),
        ("https://api.openai.com/v1\x00", "space or a control"),
        ("https://api.openai.com/v1\x7f", "space or a control"),
        ("", "empty"),
        ("https://api.openai.com/v1/../admin", "dot segment"),
        ("https://api.openai.com/v1/./models", "dot segment"),
        ("https://api.openai.com/v1/..", "dot segment"),
        ("https://api.openai.com/.", "dot segment"),
        ("https://api.openai.com/v1/..;x/admin", "dot segment"),
        ("https://api.openai.com/v1/%2e%2e/admin", "escaped"),
        ("https://api.openai.com/v1/%2E./admin", "escaped"),
        ("https://api.openai.com/v1/models/..%2f..%2Fadmin", "dot segment"),
        ("https://api.openai.com/v1/models/a%2F.", "dot segment"),
        ("https://api.openai.com/v1/models/%2Fadmin", "empty segment"),
        ("https://api.openai.com/v1/models/a%2f", "empty segment"),
        ("https://api.openai.com/v1/models/a%2F%2fb", "empty segment"),
        ("https://api.openai.com/v1%5cmodels", "escaped"),
        ("https://api.openai.com/v1%5Cmodels", "escaped"),
        ("https://api.openai.com/v1/models%00", "escaped"),
        ("https://api.openai.com/v1/models?x=%00", "NUL"),
        ("https://api.openai.com//v1/models", "empty segment"),
        ("https://api.openai.com/v1//models", "empty segment"),
        ("https://api.openai.com/v1/models/", "empty segment"),
        ("https://api.openai.com/", "empty segment"),
        ("https://api.openai.com", "no path"),
        ("https://api.openai.com?x=1", "no path"),
        ("https://api.openai.com./v1", "ends in a dot"),
        ("https://api.openai.com.:443/v1", "ends in a dot"),
        ("https://API.openai.com/v1", "lower-case"),
        ("HTTPS://api.openai.com/v1", "scheme"),
        ("ftp://api.openai.com/v1", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("//api.openai.com/v1", "not absolute"),
        ("/v1/models", "not absolute"),
        ("https:/api.openai.com/v1", "not absolute"),
        ("https:///v1", "host"),
        ("https://api..openai.com/v1", "host"),
        ("https://-api.openai.com/v1", "host"),
        ("https://api.openai%2ecom/v1", "host"),
        ("https://[::1/v1", "host"),
        ("https://[::0001]/v1", "host"),
        ("https://[fe80::1%25eth0]/v1", "host"),
        ("https://api.openai.com:/v1", "port"),
        ("https://api.openai.com:0443/v1", "port"),
        ("https://api.openai.com:65536/v1", "port"),
        ("https://api.openai.com:44a/v1", "port"),
        ("https://api.openai.com/v1/<x>", "RFC 3986"),
        ("https://api.openai.com/v1/%zz", "RFC 3986"),
        ("https://api.openai.com/v1/%2", "RFC 3986"),
        ("https://api.openai.com/v1?x=<y>", "RFC 3986"),
        ("https://api.openai.com/v1?x=%", "RFC 3986"),
    ],
)
def test_refused(url: str, reason: str) -> None:
    with pytest.raises(UrlError, match=reason):
        parse_url(url)


def test_the_longest_url() -> None:
    stem = "https://api.openai.com/"
    assert parse_url(stem + "a" * (MAX_URL_SIZE - len(stem)))
    with pytest.raises(UrlError, match="longer"):
        parse_url(stem + "a" * (MAX_URL_SIZE - len(stem) + 1))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.example", "https://a.example:443", True),
        ("http://a.example", "http://a.example:80", True),
        ("https://a.example", "http://a.example", False),
        ("https://a.example", "http://a.example:443", False),
        ("https://a.example", "https://a.example:8443", False),
        ("https://a.example", "https://a.example.org", False),
        ("https://[::1]", "https://[::1]:443", True),
    ],
)
def test_origins_are_compared_with_their_ports(one: str, other: str, same: bool) -> None:
    assert (parse_origin(one) == parse_origin(other)) is same


def test_an_origin_has_no_path() -> None:
    for text in ("https://a.example/", "https://a.example/v1", "https://a.example?x"):
        with pytest.raises(UrlError):
            parse_origin(text)


@pytest.mark.parametrize(
    ("origin", "loopback"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://127.8.8.8", True),
        ("http://[::1]:8080", True),
        ("http://localhost:8080", True),
        ("http://localhost.example", False),
        ("http://10.0.0.1", False),
        ("http://127.0.0.1.example", False),
    ],
)
def test_loopback(origin: str, loopback: bool) -> None:
    assert parse_origin(origin).is_loopback is loopback


def test_the_host_header_names_only_unusual_ports() -> None:
    assert parse_origin("https://a.example:443").authority == "a.example"
    assert parse_origin("https://a.example:80").authority == "a.example:80"
    assert parse_origin("http://[::1]:8080").authority == "[::1]:8080"


@pytest.mark.parametrize(
    "query",
    [
        "key=x",
        "KEY=x",
        "k%65y=x",
        "a=b&api_key=x",
        "api-key=",
        "apikey=x",
        "a;access_token=x",
        "limit=1;key=x",
        "oauth_token=x",
        "$key=x",
        "$httpHeaders=x",
        "%24httpMethod=DELETE",
        "bearer_token=x",
        "api_key[]=x",
        "authorization=x",
        "X-HTTP-Method-Override=DELETE",
        "alt=sse&",
        "Alt=sse",
    ],
)
def test_parameters_that_do_not_pass(query: str) -> None:
    assert parse_url(f"https://a.example/v1?{query}").unlisted_parameter() is not None


@pytest.mark.parametrize("query", ["", "?alt=sse", "?pageToken=key", "?limit=1&after_id=2", "?beta=true"])
def test_parameters_that_pass(query: str) -> None:
    assert parse_url(f"https://a.example/v1{query}").unlisted_parameter() is None


@settings(deadline=None)
@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        url = parse_url(text)
    except UrlError:
        return
    assert f"{url.origin}{url.target.decode()}" in (text, text.replace(":443", "").replace(":80", ""))


@settings(deadline=None)
@given(st.from_regex(r"https://a\.example/[ -~]{0,30}", fullmatch=True))
def test_what_is_read_reaches_the_request_line_unchanged(text: str) -> None:
    try:
        url = parse_url(text)
    except UrlError:
        return
    assert url.target == text.removeprefix("https://a.example").encode()
