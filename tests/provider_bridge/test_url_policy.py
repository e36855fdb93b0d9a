"""A URL has one reading, or it is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindrelay.provider_bridge.policy.urls import MAX_URL_SIZE, Origin, UrlError, parse_origin, parse_url


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


@settings(deadline=None)
@given(st.one_of(st.text(), st.from_regex(r"https://a\.example/[ -~]{0,30}", fullmatch=True)))
def test_any_text_is_read_as_it_is_or_refused(text: str) -> None:
    try:
        url = parse_url(text)
    except UrlError:
        return
    assert f"{url.origin}{url.target.decode()}" in (text, text.replace(":443", "").replace(":80", ""))
