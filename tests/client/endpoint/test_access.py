"""Who may use the endpoint: programs with its token, but no web page; and where the token is kept."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from blindrelay.client import ConfigurationError
from blindrelay.client.endpoint import local_token
from blindrelay.client.endpoint.access import Access
from blindrelay.client.endpoint.refusal import RefusedError

from ..scripted_bridge import ScriptedBridge
from .conftest import Endpoint, running

ERROR = "x-blindrelay-error"


@pytest.mark.parametrize(
    "header", ["x-blindrelay-token", "x-api-key", "x-goog-api-key", "api-key", "authorization"]
)
def test_token_is_accepted_in_every_key_header(bridged: Endpoint, header: str) -> None:
    for value in (bridged.token, f"Bearer {bridged.token}", f"bearer  {bridged.token}"):
        with bridged.client(headers={header: value}) as client:
            assert client.post("/v1/chat/completions", json={}).status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/v1/messages", "/anything", "/brl_wrong/v1/models"])
@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer brl_no"}, {"authorization": "Basic eDp5"}, {"x-api-key": "ä"}]
)
def test_without_the_token_nothing_leaves(
    bridged: Endpoint, bridge: ScriptedBridge, path: str, headers: dict[str, str]
) -> None:
    with bridged.client(headers={name: value.encode() for name, value in headers.items()}) as client:
        answer = client.get(path)
        assert (answer.status_code, answer.headers[ERROR]) == (401, "endpoint/local_token")
        assert answer.headers["x-should-retry"] == "false"
        assert client.get("/").status_code == 200
        assert client.get("/healthz").json() == {"status": "ok"}
    assert not bridge.received


@pytest.mark.parametrize("path", ["/v1/models", "/", "/healthz"])
@pytest.mark.parametrize(
    ("name", "value", "passes"),
    [
        ("host", "evil.example", False),
        ("host", "evil.example:{port}", False),
        ("host", "127.0.0.1.evil.example:{port}", False),
        ("host", "127.0.0.1:1", False),
        ("host", "127.0.0.1", False),
        ("host", "192.0.2.1:{port}", False),
        ("host", "LOCALHOST:{port}", True),
        ("host", "[::1]:{port}", True),
        ("origin", "https://evil.example", False),
        ("origin", "http://127.0.0.1:1", False),
        ("origin", "https://127.0.0.1:{port}", False),
        ("origin", "null", False),
        ("origin", "http://127.0.0.1:{port}", True),
    ],
)
def test_web_pages_are_refused(
    client: httpx.Client, bridge: ScriptedBridge, name: str, value: str, passes: bool, path: str
) -> None:
    """Even with the token, and under a name that resolves to loopback."""
    answer = client.get(path, headers={name: value.format(port=client.base_url.port)})
    if passes:
        assert answer.status_code == 200
    else:
        assert (answer.status_code, answer.headers[ERROR]) == (403, f"endpoint/{name}")
        assert not any(header.startswith("access-control-") for header in answer.headers)
        assert not bridge.received


def test_other_interfaces_accept_addresses_but_not_names() -> None:
    access = Access("brl_t", 80, open_to_others=True)
    access.check_names([(b"host", b"192.0.2.1")])
    for wrong in ([(b"host", b"evil.example")], [], [(b"host", b"192.0.2.1"), (b"host", b"192.0.2.1")]):
        with pytest.raises(RefusedError):
            access.check_names(wrong)


def test_allowed_host_needs_the_endpoints_port(bridge: ScriptedBridge, tmp_path: Path) -> None:
    name = "host.docker.internal"
    with running(bridge.connection, tmp_path, "--allow-host", name) as endpoint, endpoint.client() as client:
        own = f"{name}:{endpoint.port}"
        for host in (own, own.upper()):
            assert client.get("/v1/models", headers={"host": host}).status_code == 200
        for host in (name, f"{name}:1", f"{name}.evil.example:{endpoint.port}", f"evil.{own}"):
            assert client.get("/v1/models", headers={"host": host}).status_code == 403
        origin = f"http://localhost:{endpoint.port}"
        assert client.get("/v1/models", headers={"host": own, "origin": origin}).status_code == 403


@pytest.fixture(scope="module")
def brought(shared_bridge: ScriptedBridge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """With credentials=brought."""
    connection = f"{shared_bridge.connection}&credentials=brought"
    with running(connection, tmp_path_factory.mktemp("brought")) as endpoint:
        yield endpoint


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/v1/models", "https://api.openai.com/v1/models"),
        ("/mistral/v1/chat/completions", "https://api.mistral.ai/v1/chat/completions"),
        ("/grok/chat/completions", None),
        ("/api/chat", None),
        ("/grok", None),
        ("/unheard-of/openai/v1/chat/completions", None),
    ],
)
def test_own_key_goes_to_a_known_provider_and_the_token_does_not(
    brought: Endpoint, bridge: ScriptedBridge, path: str, url: str | None
) -> None:
    token = brought.token
    with brought.client(headers={"authorization": "Bearer sk-own"}) as client:
        for before, header in [("", "x-blindrelay-token"), ("", "x-api-key"), (f"/{token}", "accept")]:
            answer = client.post(before + path, json={}, headers={header: token} if not before else {})
            assert answer.status_code == (200 if url else 404)
            if url is None:
                assert answer.headers[ERROR] == "endpoint/unknown_path"
                assert repr(path.split("/")[1]) in answer.json()["error"]["message"]
        assert client.post(path, json={}).status_code == 401
    assert [each.head.url for each in bridge.received] == ([url] * 3 if url else [])
    for received in bridge.received:
        assert received.headers[b"authorization"] == b"Bearer sk-own"
        assert token.encode() not in received.head.SerializeToString()


def test_token_is_created_once_and_is_private(tmp_path: Path) -> None:
    first, second = local_token(tmp_path / "state"), local_token(tmp_path / "state")
    assert (first.is_new, second.is_new, second.text) == (True, False, first.text)
    assert first.text not in repr(first)
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o600
    assert list((tmp_path / "state").iterdir()) == [first.path]


def link(path: Path) -> None:
    path.rename(path.parent / "elsewhere")
    path.symlink_to(path.parent / "elsewhere")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: path.chmod(0o640), "open to others"),
        (lambda path: path.chmod(0o604), "open to others"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: path.write_bytes(b"brl_short"), "damaged"),
        (lambda path: path.write_bytes(b"x" * 1_000), "damaged"),
        (lambda path: path.write_bytes(b"\xff" * 47), "damaged"),
        (link, "endpoint-token"),
    ],
)
def test_token_that_others_know_or_could_have_written_is_rejected(
    harm: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    harm(local_token(tmp_path).path)
    with pytest.raises(ConfigurationError, match=message):
        local_token(tmp_path)
