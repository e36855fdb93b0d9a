"""Who may use the endpoint: programs with its token, but no web page; and where the token is kept."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from blindrelay.client import ConfigurationError
from blindrelay.client.endpoint import local_token
from blindrelay.client.endpoint.access import Access
from blindrelay.client.endpoint.refusal import RefusedError

from ..conftest import ScriptedBridge
from .conftest import Endpoint, running


@pytest.mark.parametrize(
    "header", ["x-blindrelay-token", "x-api-key", "x-goog-api-key", "api-key", "authorization"]
)
def test_token_is_accepted_in_every_key_header(bridged: Endpoint, header: str) -> None:
    for value in (bridged.token, f"Bearer {bridged.token}", f"bearer  {bridged.token}"):
        with bridged.client(headers={header: value}) as client:
            assert client.post("/v1/chat/completions", json={}).status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/v1/messages", "/anything"])
@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer brl_wrong"}, {"authorization": "Basic eDp5"}, {"x-api-key": "ä"}],
)
def test_without_the_token_nothing_leaves(
    bridged: Endpoint, bridge: ScriptedBridge, path: str, headers: dict[str, str]
) -> None:
    with bridged.client(headers={name: value.encode() for name, value in headers.items()}) as client:
        answer = client.get(path)
    assert (answer.status_code, answer.headers["x-blindrelay-error"]) == (401, "endpoint/local_token")
    assert answer.headers["x-should-retry"] == "false"
    with bridged.client() as client:
        assert client.get(f"/brl_wrong{path}").status_code == 401
    assert not bridge.received


@pytest.mark.parametrize("path", ["/v1/models", "/", "/healthz"])
@pytest.mark.parametrize(
    "names",
    [
        {"host": "evil.example"},
        {"host": "evil.example:{port}"},
        {"host": "127.0.0.1.evil.example:{port}"},
        {"host": "127.0.0.1:1"},
        {"host": "127.0.0.1"},
        {"host": "192.0.2.1:{port}"},
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "https://127.0.0.1:{port}"},
        {"origin": "null"},
    ],
)
def test_web_pages_are_refused(
    bridged: Endpoint, bridge: ScriptedBridge, names: dict[str, str], path: str
) -> None:
    """Even with the token, and under a name that resolves to loopback."""
    headers = {name: value.format(port=bridged.port) for name, value in names.items()}
    with bridged.client() as client:
        answer = client.get(path, headers=headers)
    kind = next(iter(names))
    assert (answer.status_code, answer.headers["x-blindrelay-error"]) == (403, f"endpoint/{kind}")
    assert not any(name.startswith("access-control-") for name in answer.headers)
    assert not bridge.received


@pytest.mark.parametrize("host", ["localhost:{port}", "LOCALHOST:{port}", "127.0.0.1:{port}", "[::1]:{port}"])
def test_names_of_this_machine_are_accepted(bridged: Endpoint, host: str) -> None:
    own = host.format(port=bridged.port)
    with bridged.client() as client:
        assert client.get("/v1/models", headers={"host": own, "origin": f"http://{own}"}).status_code == 200


def test_other_interfaces_accept_addresses_but_not_names() -> None:
    access = Access("brl_t", 80, open_to_others=True)
    access.check_names([(b"host", b"192.0.2.1")])
    for wrong in ([(b"host", b"evil.example")], [], [(b"host", b"192.0.2.1"), (b"host", b"192.0.2.1")]):
        with pytest.raises(RefusedError):
            access.check_names(wrong)


def test_allowed_host_needs_the_endpoints_port(bridge: ScriptedBridge, tmp_path: Path) -> None:
    name = "host.docker.internal"
    with running(bridge.connection, tmp_path, "--allow-host", name) as endpoint, endpoint.client() as client:
        for host, status in [
            (f"{name}:{endpoint.port}", 200),
            (f"{name.upper()}:{endpoint.port}", 200),
            (name, 403),
            (f"{name}:1", 403),
            (f"{name}.evil.example:{endpoint.port}", 403),
            (f"evil.{name}:{endpoint.port}", 403),
        ]:
            assert client.get("/v1/models", headers={"host": host}).status_code == status
        own = {"host": f"{name}:{endpoint.port}", "origin": f"http://localhost:{endpoint.port}"}
        assert client.get("/v1/models", headers=own).status_code == 403


@pytest.fixture(scope="module")
def brought(shared_bridge: ScriptedBridge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """With credentials=brought."""
    connection = f"{shared_bridge.connection}&credentials=brought"
    with running(connection, tmp_path_factory.mktemp("brought")) as endpoint:
        yield endpoint


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/grok/chat/completions", 404),
        ("/api/chat", 404),
        ("/grok", 404),
        ("/unheard-of/openai/v1/chat/completions", 404),
        ("/mistral/v1/chat/completions", 200),
    ],
)
def test_own_key_goes_only_to_a_named_provider(
    brought: Endpoint, bridge: ScriptedBridge, path: str, status: int
) -> None:
    for before, token in [("", {"x-blindrelay-token": brought.token}), (f"/{brought.token}", {})]:
        with brought.client(headers={"authorization": "Bearer sk-own"} | token) as client:
            answer = client.post(before + path, json={"prompt": "secret"})
        assert answer.status_code == status
        if status == 404:
            assert answer.headers["x-blindrelay-error"] == "endpoint/unknown_path"
            assert repr(path.split("/")[1]) in answer.json()["error"]["message"]
    urls = {each.head.url for each in bridge.received}
    assert urls == ({"https://api.mistral.ai/v1/chat/completions"} if status == 200 else set())


def test_own_key_passes_and_the_token_does_not(brought: Endpoint, bridge: ScriptedBridge) -> None:
    own, token = {"authorization": "Bearer sk-own"}, brought.token
    for headers, path, status in [
        ({"x-blindrelay-token": token}, "/v1/models", 200),
        ({"x-api-key": token}, "/v1/models", 200),
        ({}, f"/{token}/v1/models", 200),
        ({}, "/v1/models", 401),
    ]:
        with brought.client(headers=own | headers) as client:
            assert client.get(path).status_code == status
    assert len(bridge.received) == 3
    for received in bridge.received:
        assert received.headers[b"authorization"] == b"Bearer sk-own"
        assert token.encode() not in received.head.SerializeToString()


def test_token_is_created_once_and_is_private(tmp_path: Path) -> None:
    first, second = local_token(tmp_path / "state"), local_token(tmp_path / "state")
    assert (first.is_new, second.is_new) == (True, False)
    assert first.text == second.text
    assert first.text not in repr(first)
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o600
    assert list((tmp_path / "state").iterdir()) == [first.path]


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_token_that_is_open_to_others_is_rejected(tmp_path: Path, mode: int) -> None:
    local_token(tmp_path).path.chmod(mode)
    with pytest.raises(ConfigurationError, match="open to others"):
        local_token(tmp_path)


@pytest.mark.parametrize("content", [b"", b"brl_short", b"x" * 1_000, b"\xff" * 47])
def test_damaged_token_is_rejected(tmp_path: Path, content: bytes) -> None:
    local_token(tmp_path).path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="damaged"):
        local_token(tmp_path)


def test_link_is_not_followed(tmp_path: Path) -> None:
    made = local_token(tmp_path / "a").path
    (tmp_path / made.name).symlink_to(made)
    with pytest.raises(ConfigurationError, match="endpoint-token"):
        local_token(tmp_path)


def test_status_page_needs_no_token(bridged: Endpoint) -> None:
    assert httpx.get(f"{bridged.url}/", trust_env=False).status_code == 200
    assert httpx.get(f"{bridged.url}/healthz", trust_env=False).json() == {"status": "ok"}
